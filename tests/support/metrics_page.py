"""Makes docs/reference/metrics.md from what a server renders before anything has happened."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from actors.telemetry.metrics import ALIASES, Metrics

HEAD = """\
# Metrics

<!-- Made from actors/telemetry/metrics.py by `make reference`; do not edit. -->

What `/metrics` tells, in the Prometheus text format ([how to scrape it](../howto/dashboard.md#scrape-metrics)).
Topics, users and connections are never labels: what a client can make up would be a series of its own for ever.
`process_…` figures of the operating system come with them.

| name | type | label | meaning |
| --- | --- | --- | --- |
"""

ALIASES_HEAD = """
## Names of other servers

For dashboards and alarms that were made for Supabase Realtime, Phoenix or Fluxbase; each is the sum of figures above.
There is one tenant, so there is no label `tenant`. Their histograms, and the bytes in and out, are not counted here.

| name | the same as |
| --- | --- |
"""


def metrics_page() -> str:
    families = text_string_to_metric_families(Metrics().render().decode())
    ours = sorted(
        (family for family in families if _is_ours(family.name)), key=lambda family: family.name
    )
    rows = (
        f"| `{_sample(family).name}` | {family.type} | {_label(family)} | {family.documentation} |\n"
        for family in ours
    )
    names = {family.name.removeprefix("realtime_"): _sample(family).name for family in ours}
    aliases = (
        f"| `{alias}` | {' + '.join(f'`{names[part]}`' for part in parts)} |\n"
        for alias, parts in ALIASES.items()
    )
    return HEAD + "".join(rows) + ALIASES_HEAD + "".join(aliases)


def _is_ours(name: str) -> bool:
    return (
        name not in ALIASES and name.startswith("realtime_") and not name.endswith("_created")
    )


def _sample(family):
    return family.samples[0]


def _label(family) -> str:
    return ", ".join(f"`{name}`" for name in _sample(family).labels)
