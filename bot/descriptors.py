"""What protoc says of .proto files, frozen: the values between the client that runs it and the rules that judge it."""
