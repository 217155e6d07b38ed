"""`lodestone init`: write a site's settings and say what comes next."""

from pathlib import Path

from node.commands.console import err, out, print_json
from node.site import write_site


def init_site(
    directory: Path,
    ae_title: str,
    port: int,
    host: str,
    archives: tuple[str, ...],
    allowed: tuple[str, ...],
    replace: bool,
    as_json: bool,
) -> None:
    """Write `directory/node.toml` and print where it is and the next two commands."""
    settings = write_site(directory, ae_title, port, host, archives, allowed, replace)
    warnings = []
    if not settings.allow:
        warnings.append("Nobody may send yet: add [[allow]] tables, or use --allow AET.")
    if not settings.peers:
        warnings.append("Results stay in the outbox: add [[peers]] tables, or use --archive AET@HOST:PORT.")
    if as_json:
        print_json({"file": str(settings.file), "ae_title": ae_title, "host": host, "port": port, "warnings": warnings})
        return
    out.print(f"Wrote {settings.file}: {ae_title} on {host}:{port}.", soft_wrap=True)
    for warning in warnings:
        err.print(warning, style="yellow", soft_wrap=True)
    path = directory / "node.toml"
    out.print(f"Next: lodestone check -c {path}\nthen: lodestone serve -c {path}", soft_wrap=True)
