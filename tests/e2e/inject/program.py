"""A workload: exports one span by OpenTelemetry's SDK, which is told everything by its environment.

Arguments: the folder with the SDK, and the span's name.
"""

import os
import socket
import sys

sys.path.insert(0, sys.argv[1])

# The cluster's DNS: every Service is on this machine.
known = socket.getaddrinfo


def lookup(host, *rest, **more):
    name = host.decode() if isinstance(host, bytes) else host
    return known("127.0.0.1" if name.endswith(".svc") else host, *rest, **more)


socket.getaddrinfo = lookup

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

# As OpenTelemetry's own starter chooses.
protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
with provider.get_tracer("program").start_as_current_span(sys.argv[2]):
    pass
provider.shutdown()
