"""Jobs: any number of instances, cut into batches."""

from typing import Any

import redis as redis_client

from tests.integration.api_shim.http.door_client import Client


def _job(count: int, **changes: Any) -> dict[str, Any]:
    instances = [{"bk_host_id": n} for n in range(1, count + 1)]
    return {"bk_biz_id": 1, "bk_module_id": 60, "instances": instances, **changes}


def test_job_is_cut_into_batches_of_a_hundred(door: Client) -> None:
    accepted = door.post("/v1/jobs", _job(251))
    assert (accepted.status_code, accepted.headers["Location"]) == (202, f"/v1/jobs/{accepted.json()['job_id']}")

    job = door.get(accepted.headers["Location"]).json()
    assert (job["statistics"]["total_count"], job["statistics"]["pending_count"]) == (251, 251)
    counts = [
        door.get(f"/v1/batches/{batch['request_id']}").json()["statistics"]["total_count"] for batch in job["batches"]
    ]
    assert counts == [100, 100, 51]


def test_job_with_one_bad_instance_is_refused_whole(door: Client, redis: "redis_client.Redis") -> None:
    body = _job(150)
    body["instances"][120]["bk_host_id"] = "x"
    answer = door.post("/v1/jobs", body)

    assert (answer.status_code, answer.json()["code"]) == (400, 1199009)
    [error] = answer.json()["errors"]
    assert error["path"] == "instances[120].bk_host_id"
    assert "instances[120].bk_host_id" in error["message"]
    assert redis.keys() == []


def test_job_under_the_same_key_is_the_same_job(door: Client) -> None:
    first, again = (door.post("/v1/jobs", _job(101), headers={"Idempotency-Key": "k"}).json() for _ in range(2))
    assert (first["job_id"], first["batches"]) == (again["job_id"], again["batches"])
    other = door.post("/v1/jobs", _job(102), headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, 1190004)


def test_job_without_instances_or_unknown_is_refused(door: Client) -> None:
    assert door.post("/v1/jobs", _job(0)).json()["code"] == 1199010
    assert door.get(f"/v1/jobs/{'0' * 32}").status_code == 404
