from threading import Thread

from gateway.model.tally import BUCKETS_S, Tally


def test_counts_are_kept_by_name_and_labels() -> None:
    tally = Tally()
    tally.count("messages", "ris", "mapped")
    tally.count("messages", "ris", "mapped")
    tally.count("messages", "ris", "held")
    tally.count("images", "stored")
    assert tally.counts("messages") == {("ris", "mapped"): 2, ("ris", "held"): 1}
    assert tally.counts("deliveries") == {}


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    tally = Tally()
    for seconds in (0.001, 0.002, 100):
        tally.took("message", seconds, "ris")
    spans = tally.spans("message")["ris",]
    assert spans.counts == (1, 1, *(0 for _ in BUCKETS_S[2:]), 1)
    assert spans.total_s == 100.003


def test_no_thread_loses_a_count() -> None:
    tally = Tally()

    def add() -> None:
        for _ in range(2000):
            tally.count("messages")

    threads = [Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.counts("messages") == {(): 16000}
