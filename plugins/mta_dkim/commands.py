"""``mta dkim``: makes keys, prints their DNS records, and compares what DNS has with the key that signs."""
# SPDX-License-Identifier: Apache-2.0

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mta.model.domain import normalise
from mta.model.errors import AlreadyExists, MailError
from mta_dkim.config import DkimConfig
from mta_dkim.keyrecord import NoKey, read_record
from mta_dkim.private import PrivateKey, load_key
from mta_hooks import Context
from mta_hooks.services import DnsError

_STRING = 255
"""Octets of one string of a TXT record (RFC 1035 §3.3)."""
_BITS = 2048
_DAMAGED, _TEMPORARY = 65, 75

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


class Domain(click.ParamType[str]):
    name = "domain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return normalise(value)
        except ValueError as exc:
            self.fail(f"{value!r} is no domain: {exc}", param, ctx)


@click.group()
def dkim() -> None:
    """Keys that mail is signed with, and their records in DNS.

    Example: mta dkim keygen --domain example.org --selector s1
    """


@dkim.command()
@click.option("--domain", type=Domain(), required=True, help="Author domain whose mail it will sign.")
@click.option("--selector", help="Name of the key; default: what the config says for the domain.")
@click.option("--algorithm", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The key file; default: what the config says.")
@json_option
@click.pass_obj
def keygen(ctx: Context, domain: str, selector: str | None, algorithm: str, out: Path | None, as_json: bool) -> None:
    """Make a key of 2048 bits (rsa), or ed25519; print what to publish in DNS. A file that is there is never overwritten.

    Every receiver knows rsa; ed25519 (RFC 8463) not yet: sign with rsa when there is only one key. To change keys, publish a new selector,
    wait until DNS has it (mta dkim check), then name it in the config and reload.

    Example: mta dkim keygen --domain example.org --selector s2 --out /etc/mta/dkim/s2.pem
    """
    config: DkimConfig = ctx.config
    configured, path = config.signer(domain) if domain in config.domains else (config.selector, config.key or "")
    selector = selector or configured
    if out is None and (not path or selector != configured):
        raise click.UsageError("--out is missing: the config names no key file for this domain and selector")
    file = Path(path).absolute() if out is None else out.absolute()
    key: PrivateKey = ed25519.Ed25519PrivateKey.generate() if algorithm == "ed25519" else rsa.generate_private_key(65537, _BITS)
    _write(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    record = record_of(key)
    values = {
        "domain": domain,
        "selector": selector,
        "algorithm": algorithm,
        "key": str(file),
        "name": f"{selector}._domainkey.{domain}",
        "value": record,
        "strings": strings_of(record),
    }
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    click.echo(zone_lines(values))
    click.echo(f"; key: {file}, mode 0600: give it to the server's account (chown mta {file})")
    if (domain, selector) != (domain if domain in config.domains else "", configured):
        click.echo(
            f"; once DNS has the record (mta dkim check {domain} --selector {selector} --key {file}), config and mta reload:"
        )
        click.echo(f"; plugins: {{dkim: {{domains: {{{domain}: {{selector: {selector}, key: {file}}}}}}}}}")


@dkim.command()
@click.argument("domain", type=Domain())
@click.option("--selector", help="Another one than the config names.")
@click.option("--key", "key_file", type=click.Path(exists=True, dir_okay=False), help="Another key file than the config names.")
@json_option
@click.pass_obj
async def check(ctx: Context, domain: str, selector: str | None, key_file: str | None, as_json: bool) -> None:
    """Compare the key with its record in DNS. Exit status 65: receivers cannot verify what it signs; 75: DNS does not answer.

    Example: mta dkim check example.org
    """
    config: DkimConfig = ctx.config
    configured, path = config.signer(domain) if domain in config.domains else (config.selector, config.key or "")
    name = f"{selector or configured}._domainkey.{domain}"
    path = key_file or path
    if not path:
        raise click.UsageError(f"the config names no key for {domain}; name one with --key")
    try:
        key = await ctx.threads.run(load_key, path)
    except (OSError, ValueError) as exc:
        raise MailError(f"{path}: {exc}") from exc
    wanted = record_of(key)
    try:
        problem, status = compare(await ctx.dns.txt(name), key), _DAMAGED
    except DnsError as exc:
        problem, status = f"DNS does not answer: {exc}", _TEMPORARY
    if as_json:
        click.echo(json.dumps({"name": name, "key": path, "ok": not problem, "problem": problem, "value": wanted}, indent=1))
    elif not problem:
        click.echo(f"{name}: is the record of {path}")
    else:
        click.echo(f"{name}: {problem}", err=True)
        if status == _DAMAGED:
            click.echo(zone_lines({"name": name, "strings": strings_of(wanted)}))
    if problem:
        sys.exit(status)


def record_of(key: PrivateKey) -> str:
    """The TXT record of its public half (RFC 6376 §3.6.1, RFC 8463 §4)."""
    if isinstance(key, rsa.RSAPrivateKey):
        octets, kind = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "rsa"
    else:
        octets, kind = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), "ed25519"
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode('ascii')}"


def strings_of(record: str) -> list[str]:
    return [record[start : start + _STRING] for start in range(0, len(record), _STRING)]


def zone_lines(values: Mapping[str, Any]) -> str:
    """As a zone file has it."""
    texts = [f'"{text}"' for text in values["strings"]]
    return f"{values['name']}. IN TXT " + (texts[0] if len(texts) == 1 else "(\n\t" + "\n\t".join(texts) + " )")


def compare(records: list[bytes], key: PrivateKey) -> str:
    """What is wrong with the records; "" when receivers find this key."""
    found = [record for record in records if b"p=" in record]
    if not found:
        return "there is no such record"
    if len(found) > 1:
        return f"there are {len(found)} records; receivers take any of them (RFC 6376 §3.6.2.2)"
    try:
        record = read_record(found[0][:8192], "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ed25519")
    except NoKey as exc:
        return str(exc)
    if record.key != key.public_key():
        return "the record has another key"
    return ""


def _write(file: Path, pem: bytes) -> None:
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError as exc:
        raise AlreadyExists(f"{file}: is there already, and mail may be signed with it; name another with --out") from exc
    except OSError as exc:
        raise MailError(f"{file}: {exc.strerror}") from exc
