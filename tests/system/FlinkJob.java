import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/** Reads a topic to nowhere: NAME BOOTSTRAP TOPIC GROUP HELD. While the file HELD is there, no record gets through. */
public class FlinkJob {
    public static void main(String[] words) throws Exception {
        StreamExecutionEnvironment job = StreamExecutionEnvironment.getExecutionEnvironment();
        KafkaSource<String> source = KafkaSource.<String>builder().setBootstrapServers(words[1]).setTopics(words[2])
            .setGroupId(words[3]).setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new SimpleStringSchema()).build();
        job.fromSource(source, WatermarkStrategy.noWatermarks(), words[2])
            .map(new HoldWhile(words[4])).sinkTo(new DiscardingSink<>());
        job.executeAsync(words[0]);
    }

    public static class HoldWhile implements MapFunction<String, String> {
        private final String held;

        HoldWhile(String held) {
            this.held = held;
        }

        @Override
        public String map(String record) throws InterruptedException {
            while (Files.exists(Path.of(held))) {
                Thread.sleep(50);
            }
            return record;
        }
    }
}
