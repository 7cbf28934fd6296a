"""The exchange on the wire: contract, generated code, client, errors as gRPC statuses."""
