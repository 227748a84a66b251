#!/usr/bin/env python3
"""A gRPC client that knows nothing of the Workload API but what server reflection tells it, with grpcio-reflection.

The endpoint is in SPIFFE_ENDPOINT_SOCKET. It prints one JSON line {"client", "version", "ok", "seen"} and exits 0 or 1
(2: usage).

    reflection_client.py SPIFFE_ID
"""

import json
import os
import sys
from importlib.metadata import version

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICES = ["SpiffeWorkloadAPI", "envoy.service.secret.v3.SecretDiscoveryService"]
LIMIT_SECONDS = 20


class Unexpected(Exception):
    """What was seen is not what was expected."""


def need(holds, what):
    if not holds:
        raise Unexpected(what)


class Header(grpc.StreamStreamClientInterceptor, grpc.UnaryUnaryClientInterceptor):
    """Adds the security header to every call."""

    def intercept_stream_stream(self, call, details, requests):
        return call(self.with_header(details), requests)

    def intercept_unary_unary(self, call, details, request):
        return call(self.with_header(details), request)

    @staticmethod
    def with_header(details):
        return details._replace(metadata=[("workload.spiffe.io", "true")], timeout=LIMIT_SECONDS)


def look(identity):
    channel = grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"])
    try:
        ProtoReflectionDescriptorDatabase(channel).get_services()
        raise Unexpected("a call without the security header was answered")
    except grpc.RpcError as error:
        need(error.code() == grpc.StatusCode.INVALID_ARGUMENT, f"without the security header: {error.code()}")
    channel = grpc.intercept_channel(channel, Header())
    told = ProtoReflectionDescriptorDatabase(channel)
    services = list(told.get_services())
    need(services[:2] == SERVICES, f"there are {services}")
    service = DescriptorPool(told).FindServiceByName(SERVICES[0])
    method = service.methods_by_name["FetchJWTSVID"]
    ask = channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    answer = ask(GetMessageClass(method.input_type)(audience=["test"]))
    need([svid.spiffe_id for svid in answer.svids] == [identity], f"the JWT-SVIDs are of {answer.svids}")
    return f"{len(services)} services, {len(service.methods)} methods of the Workload API; a JWT-SVID by what was told of it"


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        seen, ok = look(arguments[0]), True
    except (Unexpected, grpc.RpcError, KeyError, TypeError) as error:
        seen, ok = f"{type(error).__name__}: {error}", False
    print(json.dumps({"client": "grpc-reflection", "version": version("grpcio-reflection"), "ok": ok, "seen": seen}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
