"""The figures for a monitoring system, in the text format of Prometheus. Labels are names of the configuration."""

import hmac
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse, Response

from gateway.flow.watch_feeds import Standing
from gateway.model.errors import Unavailable
from gateway.model.tally import BUCKETS_S, Tally
from gateway.web.site import Site, Visit

_LOOPBACK = frozenset({"127.0.0.1", "::1"})

_COUNTERS = (
    ("messages", "Messages by what became of them", ("source", "state")),
    ("acknowledgements", "HL7 acknowledgements by their code (MSA-1)", ("source", "code")),
    ("connections", "Connections that a listener took", ("listener",)),
    ("deliveries", "Tries to deliver by what came of them", ("destination", "state")),
    ("readings", "Tries to read from record systems by what came of them", ("source", "state")),
    ("worklist_queries", "Worklist queries (C-FIND) by what came of them", ("outcome",)),
    ("refusals", "DICOM associations and objects that were refused, by why", ("reason",)),
    ("unadmitted", "FHIR requests without the right proof", ("source", "outcome")),
    ("images", "Objects sent by machines (C-STORE) by what came of them", ("outcome",)),
)


def show(site: Site, visit: Visit) -> Response:
    """The figures, for who has the token; without a token set, for programs on this computer alone."""
    if not _may_read(site, visit):
        return PlainTextResponse(
            "The figures are for who has the token of watch.metrics_token, or for this computer.\n", 403
        )
    return Response(generate_latest(_Figures(site)), media_type=CONTENT_TYPE_LATEST)


def _may_read(site: Site, visit: Visit) -> bool:
    if site.metrics_token:
        return hmac.compare_digest(visit.bearer.encode(), site.metrics_token.encode())
    return visit.peer in _LOOPBACK and not visit.is_forwarded


class _Figures(Collector):
    """What is read anew for each answer."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self) -> Iterator[Metric]:
        """Every figure; those of the store are left out while it does not answer."""
        yield from _counted(self._site.ports.tally)
        yield _parts(self._site)
        if self._site.watcher is not None:
            try:
                yield from _standing(self._site.watcher.standing())
            except Unavailable:
                return


def _counted(tally: Tally) -> Iterator[Metric]:
    for name, about, labels in _COUNTERS:
        counter = CounterMetricFamily(f"gateway_{name}", about, labels=labels)
        for values, count in sorted(tally.counts(name).items()):
            counter.add_metric(values, count)
        yield counter
    took = HistogramMetricFamily(
        "gateway_message_seconds", "From a whole frame to its answer", labels=("source",)
    )
    for values, spans in sorted(tally.spans("message").items()):
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        took.add_metric(values, list(zip(bounds, accumulate(spans.counts), strict=True)), spans.total_s)
    yield took


def _parts(site: Site) -> Metric:
    parts = GaugeMetricFamily("gateway_part_trouble", "1 while the part is in trouble", labels=("part",))
    for name, trouble in site.ready().items():
        parts.add_metric((name,), bool(trouble))
    return parts


def _standing(now: Standing) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "gateway_messages_held", "Messages that wait for a person", value=now.figures.held
    )
    yield GaugeMetricFamily(
        "gateway_messages_received", "Messages that wait to be mapped", value=now.figures.received
    )
    yield GaugeMetricFamily("gateway_held_long", "1 while too many are held", value=now.is_held_long)
    yield GaugeMetricFamily("gateway_orders_held", "Orders that are held", value=now.figures.held_orders)
    yield GaugeMetricFamily("gateway_worklist_orders", "Orders that machines find", value=now.figures.listed)
    queue = GaugeMetricFamily("gateway_deliveries_open", "Deliveries in the outbox", labels=("state",))
    for state, count in now.figures.deliveries.items():
        queue.add_metric((state,), count)
    yield queue
    yield from _feeds(now)
    codes = GaugeMetricFamily(
        "gateway_unmapped_codes", "Codes of the last week that no table knows", labels=("source", "table")
    )
    tables = [(one.source, one.table) for one in now.codes]
    for names in dict.fromkeys(tables):
        codes.add_metric(names, tables.count(names))
    yield codes


def _feeds(now: Standing) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "gateway_feed_last_message_timestamp_seconds", "When the newest message came", labels=("listener",)
    )
    quiet = GaugeMetricFamily("gateway_feed_quiet", "1 while a feed is silent too long", labels=("listener",))
    flapping = GaugeMetricFamily(
        "gateway_feed_flapping", "1 while a sender connects again and again", labels=("listener",)
    )
    for feed in now.feeds:
        if feed.last_at is not None:
            last.add_metric((feed.name,), feed.last_at.timestamp())
        quiet.add_metric((feed.name,), feed.quiet_for is not None)
        flapping.add_metric((feed.name,), feed.is_flapping)
    yield from (last, quiet, flapping)
