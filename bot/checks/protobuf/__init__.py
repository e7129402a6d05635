"""The Protobuf rules, over what protoc says of the files."""
