import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaCompatibility.Incompatibility;
import org.apache.avro.SchemaCompatibility.SchemaPairCompatibility;
import org.apache.avro.SchemaValidationException;
import org.apache.avro.SchemaValidator;
import org.apache.avro.SchemaValidatorBuilder;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.io.DecoderFactory;

/**
 * What Java's Avro says, the implementation that registries and converters run: a JSON object a line in, one a line out.
 *
 * <p>{"schema": S} is answered with {"refused": why or null}. {"reader": R, "writer": W, "data": [base64, ...]} with
 * {"refused", "compatible", "kinds", "unreadable": why or null}: the verdict of SchemaCompatibility, and whether every
 * datum that W wrote is read with R. {"versions": [oldest, ..., newest]} with a boolean for each level.
 */
public final class AvroOracle {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] words) throws IOException {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode asked = JSON.readTree(line);
      ObjectNode answer = JSON.createObjectNode();
      try {
        if (asked.has("schema")) {
          parsed(asked.get("schema"));
        } else if (asked.has("versions")) {
          levels(asked.get("versions"), answer);
        } else {
          pair(parsed(asked.get("reader")), parsed(asked.get("writer")), asked.get("data"), answer);
        }
        answer.putNull("refused");
      } catch (RuntimeException | StackOverflowError error) {
        answer.put("refused", error.getClass().getSimpleName() + ": " + error.getMessage());
      }
      out.println(JSON.writeValueAsString(answer));
    }
    out.flush();
  }

  private static Schema parsed(JsonNode document) {
    return new Schema.Parser().parse(document.toString());
  }

  private static void pair(Schema reader, Schema writer, JsonNode data, ObjectNode answer) {
    SchemaPairCompatibility found = SchemaCompatibility.checkReaderWriterCompatibility(reader, writer);
    List<Incompatibility> wrong = found.getResult().getIncompatibilities();
    answer.put("compatible", wrong.isEmpty());
    wrong.forEach(one -> answer.withArray("kinds").add(one.getType().name() + " at " + one.getLocation()));
    answer.putNull("unreadable");
    for (JsonNode datum : data) {
      byte[] bytes = Base64.getDecoder().decode(datum.asText());
      String own = unread(bytes, writer, writer);
      if (own != null) {
        throw new IllegalStateException("the datum is not one of the writer's: " + own);
      }
      String why = unread(bytes, writer, reader);
      if (why != null) {
        answer.put("unreadable", why);
        return;
      }
    }
  }

  private static String unread(byte[] bytes, Schema writer, Schema reader) {
    try {
      new GenericDatumReader<Object>(writer, reader).read(null, DecoderFactory.get().binaryDecoder(bytes, null));
      return null;
    } catch (IOException | RuntimeException error) {
      return error.getClass().getSimpleName() + ": " + error.getMessage();
    }
  }

  private static void levels(JsonNode versions, ObjectNode answer) {
    List<Schema> before = new ArrayList<>();
    for (int index = versions.size() - 2; index >= 0; index--) {
      before.add(parsed(versions.get(index)));
    }
    Schema newest = parsed(versions.get(versions.size() - 1));
    SchemaValidatorBuilder backward = new SchemaValidatorBuilder().canReadStrategy();
    answer.put("BACKWARD", passes(backward.validateLatest(), newest, before));
    answer.put("BACKWARD_TRANSITIVE", passes(backward.validateAll(), newest, before));
    SchemaValidatorBuilder forward = new SchemaValidatorBuilder().canBeReadStrategy();
    answer.put("FORWARD", passes(forward.validateLatest(), newest, before));
    answer.put("FORWARD_TRANSITIVE", passes(forward.validateAll(), newest, before));
    SchemaValidatorBuilder full = new SchemaValidatorBuilder().mutualReadStrategy();
    answer.put("FULL", passes(full.validateLatest(), newest, before));
    answer.put("FULL_TRANSITIVE", passes(full.validateAll(), newest, before));
  }

  private static boolean passes(SchemaValidator validator, Schema newest, List<Schema> before) {
    try {
      validator.validate(newest, before);
      return true;
    } catch (SchemaValidationException error) {
      return false;
    }
  }
}
