"""Which deliveries a worker carries together, after some of them have killed it."""

from dataclasses import replace

from worker.delivery.deliverer import next_round
from worker.postgres.deliveries import Delivery

MOST_STARTS = 10


def waiting(number: int) -> Delivery:
    return Delivery(f"{number:032x}", 1, 60, [number], "PENDING", 0, "", 0, 0)


def test_all_go_together_while_nothing_has_happened() -> None:
    assert next_round([]) == []
    assert next_round([waiting(1), waiting(2)]) == [waiting(1), waiting(2)]


def test_one_that_kills_is_found_among_a_hundred_and_takes_no_others_along() -> None:
    poison, left, rounds = waiting(42).request_id, [waiting(number) for number in range(100)], 0
    while (killer := next(one for one in left if one.request_id == poison)).starts < MOST_STARTS:
        rounds += 1
        begun = {one.request_id for one in next_round(left)}
        if poison in begun:
            left = [replace(one, starts=one.starts + 1) if one.request_id in begun else one for one in left]
        else:
            left = [one for one in left if one.request_id not in begun]
    assert rounds < 40
    assert all(one.starts < MOST_STARTS for one in left if one is not killer)
