#!/usr/bin/env python3
"""An MCP client over Streamable HTTP, from the official Python SDK: lists the tools, calls one, and judges the answer.

It imports nothing of Marque. It prints one JSON line {"client", "version", "ok", "seen"} and exits 0 or 1 (2: usage).

    mcp_client.py URL --modern --call add --args '{"a": 1, "b": 2}' --expect allowed --contains 3
    mcp_client.py URL --legacy --call drop_table --expect hidden
"""

import argparse
import json
import logging
import ssl
import sys
from importlib.metadata import version

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

LIMIT_SECONDS = 60
MOST_PAGES = 50


class Unexpected(Exception):
    """What was seen is not what was expected."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    era = parser.add_mutually_exclusive_group()
    era.add_argument("--legacy", action="store_const", dest="era", const="legacy", help="the initialize handshake")
    era.add_argument("--modern", action="store_const", dest="era", const="modern", help="server/discover, no session")
    parser.set_defaults(era="auto")
    parser.add_argument("--call", metavar="NAME", help="the tool to call; without it the tools are only listed")
    parser.add_argument("--args", metavar="JSON", default={}, type=json.loads)
    parser.add_argument("--expect", choices=["allowed", "denied", "held", "hidden"], default="allowed")
    parser.add_argument("--contains", metavar="STR", help="what the result's text must contain")
    parser.add_argument("--header", metavar="'NAME: VALUE'", action="append", default=[])
    parser.add_argument("--ca", metavar="PEM", help="trust these authorities only; the host name is not compared,"
                        " for an X.509-SVID names its workload by a URI")
    parser.add_argument("--cert", metavar="PEM", help="the client's certificate chain")
    parser.add_argument("--key", metavar="PEM", help="the client's private key")
    given = parser.parse_args()
    if given.expect != "allowed" and not given.call:
        parser.error("--expect needs --call")
    if given.expect in ("denied", "held") and not given.contains:
        parser.error("--expect denied and --expect held need --contains")
    if bool(given.cert) != bool(given.key):
        parser.error("--cert and --key belong together")
    return given


def http_client(given):
    headers = {name.strip(): value.strip() for name, _, value in (header.partition(":") for header in given.header)}
    context = ssl.create_default_context(cafile=given.ca)
    if given.ca:
        context.check_hostname = False
    if given.cert:
        context.load_cert_chain(given.cert, given.key)
    # No proxy from the environment may stand between this client and the server under test.
    return httpx2.AsyncClient(headers=headers, verify=context, timeout=30, trust_env=False)


async def all_tools(client):
    names, cursor = [], None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        names += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return names
    raise Unexpected(f"tools/list does not end after {MOST_PAGES} pages")


def check_era(era, protocol):
    if era == "modern" and protocol not in MODERN_PROTOCOL_VERSIONS:
        raise Unexpected(f"the server speaks {protocol}, which is not modern")
    if era == "legacy" and protocol not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise Unexpected(f"the server speaks {protocol}, which is not legacy")


async def talk(given):
    async with http_client(given) as http:
        transport = streamable_http_client(given.url, http_client=http)
        mode = "legacy" if given.era == "legacy" else "auto"
        async with Client(transport, mode=mode, read_timeout_seconds=30, cache=None) as client:
            check_era(given.era, client.protocol_version)
            tools = await all_tools(client)
            seen = f"{client.protocol_version}, {len(tools)} tools"
            if given.call is None:
                return seen
            if given.expect == "hidden":
                if given.call in tools:
                    raise Unexpected(f"`{given.call}` is listed")
                return f"{seen}, `{given.call}` is not among them"
            if given.expect == "allowed" and given.call not in tools:
                raise Unexpected(f"`{given.call}` is not listed, only {sorted(tools)}")
            return f"{seen}, {judge(given, await client.call_tool(given.call, given.args))}"


def judge(given, result):
    text = "\n".join(getattr(block, "text", "") for block in result.content)
    shown = text if len(text) <= 300 else text[:300] + "…"
    if (given.expect == "allowed") == bool(result.is_error):
        raise Unexpected(f"`{given.call}` was expected to be {given.expect}, but isError is {result.is_error}: {shown}")
    if given.contains and given.contains not in text:
        raise Unexpected(f"`{given.call}` answered without `{given.contains}`: {shown}")
    return f"`{given.call}` is {given.expect}: {shown}"


def reason(error):
    """The innermost causes of an error, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(reason(inner) for inner in error.exceptions)
    if isinstance(error, MCPError):
        return f"JSON-RPC error {error.error.code}: {error.error.message}"
    if isinstance(error, Unexpected):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no end within {LIMIT_SECONDS} s"
    return f"{type(error).__name__}: {error}"


async def run(given):
    with anyio.fail_after(LIMIT_SECONDS):
        return await talk(given)


def main():
    given = arguments()
    logging.disable(logging.CRITICAL)
    try:
        ok, seen = True, anyio.run(run, given)
    except Exception as error:
        ok, seen = False, reason(error)
    line = {"client": f"mcp-python-{given.era}", "version": version("mcp"), "ok": ok, "seen": seen}
    print(json.dumps(line, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
