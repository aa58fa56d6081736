"""The commands. No logic: each hands its options to the module that does the work.

What a command needs is imported when it starts: `almenara --help` answers at once.
"""

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from monitor import __version__, system_errors
from monitor.cli_errors import COULD_NOT, WRONG_USE, said, text, unwritable, worded
from monitor.cli_options import CONTEXT, READABLE, Value, config_option, configuration, found, given

INTERRUPTED = 130  # 128 + SIGINT, as shells count


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="almenara", message="%(prog)s %(version)s")
def almenara() -> None:
    """Tells, from inside the networks that may block them, which news sites are blocked, how, and how sure that is.

    Exit codes: 0, the work was done, whatever it found; 1, it could not be done; 2, the command line or the
    configuration is wrong.
    """


@almenara.command()
@click.argument("urls", metavar="[URL]...", nargs=-1, type=Value("web_url"))
@click.option("--json", is_flag=True, help="Print one Measurement per line instead of a table.")
@click.option("--save", is_flag=True, help="Store them as well, where `almenara run` does.")
@config_option
def measure(urls: tuple[str, ...], json: bool, save: bool, config_file: Path | None) -> int:
    """Measure now: the URLs, or every configured site but those that wait (see `almenara sites`).

    Asks for your consent first, unless the configuration gives it: measuring can be seen, and can be a risk.
    """
    with worded():
        config = configuration(config_file, required=not urls)
        from monitor import consent, run
        from monitor.config import find

        consent.require_here(config.consent)
        file = config_file or find()
        return run.run_measure(config, urls, json=json, save=save, file=file)


@almenara.command()
@click.option("--log-format", type=click.Choice(("text", "json")),
              help="One line per change instead of the live view on a terminal.")  # fmt: skip
@config_option
def run(log_format: str | None, config_file: Path | None) -> int:
    """Watch: measure every site as often as configured, store, find events. Runs until it is ended.

    Asks for your consent first, unless the configuration gives it. SIGHUP reads the configuration again.
    """
    with worded():
        file = found(config_file)
        from monitor import watching as work

        try:
            return work.run(file, log_format=log_format)
        except (work.AlreadyRunning, work.PortTaken, work.StoreError) as exc:
            raise click.ClickException(said(exc)) from None


@almenara.command()
@click.option("--approve", metavar="URL|all", multiple=True, type=Value("site_or_all"),
              help="Watch a site that waits, or all that do. Repeatable.")  # fmt: skip
@click.option("--json", is_flag=True, help="Print one site per line as JSON instead of a table.")
@config_option
def sites(approve: tuple[str, ...], json: bool, config_file: Path | None) -> int:
    """Show what is watched, and what waits until you have seen it.

    Sites that join a list after its first use are not measured before you approve them.
    """
    with worded():
        config = configuration(config_file)
        from monitor import lists as work

        return work.run(config, approve=approve, json=json)


@almenara.command()
@click.option(
    "--listen", required=True, metavar="HOST:PORT", type=Value("listen"), help="Where to serve; [v6]:port for IPv6."
)
@click.option("--tls-certificate", metavar="FILE", type=READABLE, help="Chain to serve https with.")
@click.option("--tls-key", metavar="FILE", type=READABLE, help="Private key of that certificate.")
@click.option("--proxy", "proxies", metavar="ADDRESS", type=Value("address"), multiple=True,
              help="A reverse proxy whose X-Forwarded-For is believed. Repeatable.")  # fmt: skip
@click.option("--allow-port", "ports", metavar="N", type=click.IntRange(1, 65535), multiple=True,
              help="Connect to this port too, besides 80 and 443. Repeatable.")  # fmt: skip
@click.option("--max-concurrency", metavar="N", type=click.IntRange(1, 4096), default=25, show_default=True,
              help="Measurements at once; more are answered with 503.")  # fmt: skip
@click.option("--rate-limit", metavar="N", type=click.IntRange(1, 1_000_000), default=600, show_default=True,
              help="Requests of one client in a minute.")  # fmt: skip
@config_option
def helper(
    listen: str,
    tls_certificate: Path | None,
    tls_key: Path | None,
    proxies: tuple[str, ...],
    ports: tuple[int, ...],
    max_concurrency: int,
    rate_limit: int,
    config_file: Path | None,
) -> int:
    """Serve control measurements to probes elsewhere.

    Run this on an uncensored network. Connects only to public addresses, by http and https. Without a certificate it
    serves plain http, for a reverse proxy in front of it.
    """
    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError(text("--tls-certificate and --tls-key: expected both or none"))
    with worded():
        from monitor.config import Config

        config = given(config_file) or Config()
        from monitor.control import helper as work

        try:
            limits = work.Limits(
                ports=work.Limits().ports | set(ports), max_concurrency=max_concurrency, per_minute=rate_limit
            )
            work.run(config, listen, limits=limits, certificate=tls_certificate, key=tls_key, proxies=proxies)
        except OSError as exc:
            problem = system_errors.problem(exc)
            raise click.ClickException(
                text("cannot serve on {listen}: {problem}", listen=listen, problem=problem)
            ) from None
    return 0


@almenara.command()
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", is_flag=True, help="Print one Measurement per line, with its new verdict.")
@click.option("--store", is_flag=True, help="Judge all of the store instead, and keep the new verdicts there.")
@config_option
def classify(files: tuple[Path, ...], json: bool, store: bool, config_file: Path | None) -> int:
    """Judge stored measurements again: Almenara's or OONI's.

    JSON or JSON lines, plain, .gz or .zst; "-" is the standard input. Needs no configuration.
    """
    if store and files:
        raise click.UsageError(text("--store: expected without FILE..."))
    if not store and not files:
        raise click.UsageError(text("expected FILE..., or --store for all that is stored"))
    with worded():
        if store:
            from monitor import rejudge

            return rejudge.run(configuration(config_file, required=False), json=json)
        given(config_file)
        from monitor import classify as work

        return work.run(files, json=json)


@almenara.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", is_flag=True, help="Print one Event per line instead of a table.")
@click.option("--all-kinds", is_flag=True, help="Outages of sites and networks, and silence, too; not blocking only.")
@config_option
def detect(files: tuple[Path, ...], json: bool, all_kinds: bool, config_file: Path | None) -> int:
    """Find the events in a history of verdicts.

    JSON lines as `measure --json` prints them, in any order, plain, .gz or .zst; "-" is the standard input. Needs no
    configuration; the minimum numbers under `detect` are taken from one that is named.
    """
    with worded():
        config = given(config_file)
        from monitor import detect as work
        from monitor.events import Minimum

        least = Minimum(config.detect.measurements, config.detect.probes) if config else Minimum()
        return work.run(files, json=json, all_kinds=all_kinds, minimum=least)


@almenara.command()
@click.option("--send-test", is_flag=True, help="Send a test through every channel of alerts as well.")
@config_option
def check(send_test: bool, config_file: Path | None) -> int:
    """Validate the configuration, try the controls, say what would be measured.

    Asks the helpers and the encrypted resolvers, but visits no site. Exit code 1 where no control answers at all, or a
    test does not arrive.
    """
    with worded():
        config = configuration(config_file)
        from monitor import check as work

        return work.run(config, found(config_file), send_test=send_test)


@almenara.command()
@click.option("--once", is_flag=True, help="Measure the censored state once, print the table and exit.")
@click.option(
    "--seed", metavar="N", type=click.IntRange(min=0), help="Draw names, addresses and delays from this seed."
)
@config_option
def demo(once: bool, seed: int | None, config_file: Path | None) -> int:
    """Watch two ISPs block news sites, in an internet in a box.

    Needs no internet and no configuration, but Linux and root, or user namespaces and the tun device.
    """
    with worded():
        given(config_file)
        from monitor.lab import demo as work

        return work.run(once=once, seed=seed)


@almenara.command()
@click.argument("event", metavar="[EVENT]", required=False)
@click.option("--json", is_flag=True, help="Print one Event per line; of a single one with its measurements' ids.")
@click.option("--kind", type=click.Choice(("blocking", "site_outage", "network_outage", "silence")))
@click.option("--site", metavar="SITE", help="Its host, or a URL of it.")
@click.option("--asn", metavar="N", type=click.IntRange(1, 4_294_967_295), help="The network's number.")
@click.option("--country", metavar="CC", type=Value("country", str.upper), help="Two letters, such as VE.")
@click.option("--active", is_flag=True, help="Only what is not over.")
@click.option(
    "--since", metavar="TIME", help="Only what was going on after: 2018-01-15, 2018-01-15T09:05, or how long ago: 7d."
)
@click.option("--until", metavar="TIME", help="Only what was going on before.")
@click.option("--minimum-confidence", metavar="P", type=click.FloatRange(0, 1), default=0.0, help="0 to 1.")
@click.option("--incidents", is_flag=True, help="List incidents: the events that belong together.")
@click.option("--exchange", is_flag=True, help="Print incidents as CSV, in the columns of #KeepItOn's exchange.")
@config_option
def events(
    event: str | None, json: bool, incidents: bool, exchange: bool, config_file: Path | None, **wanted: Any
) -> int:
    """List what the service has found, newest first; or tell one EVENT in full.

    EVENT is the id of an event or an incident, or as much of its beginning as no other has.
    """
    if event is not None and (incidents or any(wanted.values())):
        raise click.UsageError(text("EVENT: expected alone, or with --json; filters and --incidents are for the list"))
    if exchange and (event or json or incidents or any(wanted.values())):
        raise click.UsageError(text("--exchange: expected alone"))
    with worded():
        config = configuration(config_file, required=False)
        if exchange:
            from monitor.publish import exchange as table

            return table.run(config)
        from monitor.publish import events as work

        return work.run(config, event, work.wanted(**wanted), json=json, incidents=incidents)


@almenara.command()
@click.option("--format", type=click.Choice(("jsonl", "csv")), default="jsonl", show_default=True,
              help="JSON lines as `measure --json` prints them, or a row for each.")  # fmt: skip
@click.option("--site", metavar="SITE", help="Its host, or a URL of it.")
@click.option("--asn", metavar="N", type=click.IntRange(1, 4_294_967_295), help="The network's number.")
@click.option("--vantage", metavar="NAME", help="As the configuration names it.")
@click.option("--status", type=click.Choice(("ok", "blocked", "down", "geoblocked", "inconclusive")))
@click.option("--method", metavar="METHOD", help="One of those that the verdict names, such as dns.nxdomain.")
@click.option("--since", metavar="TIME", help="Begun then or later: 2018-01-15, 2018-01-15T09:05, or how long ago: 7d.")
@click.option("--until", metavar="TIME", help="Begun before.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Instead of the standard output.")
@config_option
def export(format: str, output: Path | None, config_file: Path | None, **wanted: Any) -> int:
    """Print the stored measurements, oldest first."""
    with worded():
        config = configuration(config_file, required=False)
        from monitor.publish import export as work

        try:
            return work.run(config, work.wanted(**wanted), format=format, output=output)
        except work.Unwritable as exc:
            raise click.ClickException(said(exc)) from None


@almenara.command()
@click.option("--state", type=click.Choice(("waiting", "sent", "given_up", "merged")), help="Only those.")
@click.option("--json", is_flag=True, help="Print one message per line as JSON instead of a table.")
@click.option("--show", metavar="ID", help="Print a message as it was told, made again from the store.")
@click.option("--retry", metavar="ID|all", help="Try again what was given up, or waits.")
@click.option("--secrets", is_flag=True, help="Print what the receivers of webhooks check signatures with.")
@config_option
def alerts(config_file: Path | None, **asked: Any) -> int:
    """List the newest alerts, and what became of them."""
    if sum(map(bool, (asked["show"], asked["retry"], asked["secrets"], asked["state"] or asked["json"]))) > 1:
        raise click.UsageError(text("--show, --retry, --secrets: expected alone; --state and --json are for the list"))
    with worded():
        config = configuration(config_file, required=False)
        from monitor.alerts import listing as work
        from monitor.config import find

        return work.run(config, config_file or find(), **asked)


@almenara.command()
@click.argument("event", metavar="EVENT")
@click.option("--output", metavar="PATH", type=click.Path(path_type=Path),
              help="FILE.zip, or a folder. Default: almenara-ID.zip here.")  # fmt: skip
@click.option("--language", metavar="CODE", type=Value("language"), help="Of the report: en or es. Default: yours.")
@click.option("--no-pdf", is_flag=True, help="Only HTML.")
@click.option("--until", metavar="TIME", help="Only measurements begun before.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="The secret key to sign with.")
@config_option
def report(event: str, no_pdf: bool, config_file: Path | None, **wanted: Any) -> int:
    """Write an evidence bundle: a report, every measurement behind EVENT, and a signature over all of it.

    EVENT is the id of an event or an incident, or as much of its beginning as no other has.
    """
    with worded():
        config = configuration(config_file, required=False)
        from monitor.evidence import bundle as work

        return work.run(config, event, pdf=not no_pdf, **wanted)


@almenara.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(exists=True, path_type=Path))
@click.option("--key", metavar="KEY", help="The public key that must have signed it: the line, or its file.")
def verify(bundle: Path, key: str | None) -> int:
    """Check an evidence bundle, a folder or a zip: names every file that was touched, is missing, or was added.

    Exit code 1 where anything is not as it was signed. Needs no configuration.
    """
    with worded():
        from monitor.evidence import verify as work

        return work.run(bundle, key)


@almenara.command()
@click.option("--file", metavar="FILE", type=click.Path(path_type=Path),
              help="Where the secret key is. Default: signing.key in the user's configuration folder.")  # fmt: skip
def key(file: Path | None) -> int:
    """Print the public key that your bundles are checked with; the first time, make the pair.

    It is an Ed25519 key in minisign's format.
    """
    with worded():
        from monitor.evidence import keys as work

        return work.run(file)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends the process with the command's exit code."""
    if sys.stdout is None:  # closed by the shell (`>&-`)
        sys.stderr.write(f"almenara: {text('cannot write: standard output is closed')}\n")
        sys.exit(COULD_NOT)
    _speak()
    try:
        code = almenara.main(arguments, prog_name="almenara", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.ctx.get_help() if exc.ctx else "", err=True)
        code = WRONG_USE
    except click.ClickException as exc:
        click.echo(f"almenara: {' '.join(exc.format_message().split())}", err=True)
        code = exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except OSError as exc:
        if exc.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        code = unwritable(exc)
    sys.exit(code)


def _speak() -> None:
    """The user's language, where it is not English."""
    from monitor.language import ENGLISH, here

    if (words := here()) is not ENGLISH:
        from monitor.help import translate

        translate(almenara, words)
