"""What must hold of the queues between any two scripts, read from Redis itself."""

import json
from collections import Counter

from shared.api_keys import OPERATORS
from shared.errors import ErrorCode
from shared.jobs import State, Status
from shared.operator_events import ENDS
from shared.store import keys
from tests.support.store import World

_READY = "ready:"
#: States of deliveries that are still to be sent.
UNSETTLED = frozenset({"pending", "sending", "parked"})


def assert_true(world: World) -> None:
    """Compare every counter and every set with the records."""
    records = _records(world, "job:")
    deliveries = _records(world, "delivery:")
    _assert_queue(world, "jobs", records, {"queued"}, {"claimed", "calling", "fetching"}, "tenant")
    _assert_fallbacks(world, records)
    _assert_deliveries(world, deliveries)
    staged = _records(world, "staged:")
    _assert_counts(world, records, deliveries, staged)
    _assert_batches(world, records, staged)
    _assert_permits(world)


def _records(world: World, kind: str) -> dict[str, dict[str, str]]:
    prefix = f"{{dr}}:{kind}"
    found = world.client.scan_iter(prefix.replace("{", "[{]") + "*", count=1000)
    return {str(key).removeprefix(prefix): hash_of(world, str(key)) for key in found}


def hash_of(world: World, key: str) -> dict[str, str]:
    """Read a hash as text."""
    return {str(name): str(value) for name, value in world.client.hgetall(key).items()}


def _assert_queue(
    world: World,
    name: str,
    records: dict[str, dict[str, str]],
    waiting: set[str],
    running: set[str],
    group_of: str,
) -> None:
    prefix = f"{{dr}}:q:{name}:"
    lines = world.client.scan_iter(f"[{{]dr}}:q:{name}:{_READY}*", count=1000)
    by_lane = {str(key).removeprefix(prefix + _READY): _members(world, str(key)) for key in lines}
    ready = _by_group(by_lane)
    bought, isolated, due, leases = (_members(world, prefix + key) for key in _SETS)

    places = Counter(member for group in ready.values() for member in group)
    places.update([*bought, *isolated, *due])
    assert set(places) == {key for key, record in records.items() if record["state"] in waiting}
    assert set(places.values()) <= {1}
    assert leases == {key for key, record in records.items() if record["state"] in running}
    for group, members in ready.items():
        assert {records[member][group_of] for member in members} == {group}
    for line, members in by_lane.items():
        lane = line.rpartition(":")[2]
        assert {records[member].get("model", "") for member in members} == {lane}

    _assert_groups(world, name, records, leases, by_lane, group_of, len(bought) + len(isolated))


def _assert_fallbacks(world: World, records: dict[str, dict[str, str]]) -> None:
    """Compare the jobs that may change their model with the records."""
    may_change: dict[str, set[str]] = {}
    for job_id, record in records.items():
        names = set(record.get("models", "").split())
        kept = {name.partition(":")[2] for name in record if name.startswith("alternative:")}
        has_image = record["state"] == "succeeded"
        assert kept == (set() if has_image else names - {record["model"]})
        if record["state"] == "queued" and names and not {"answer", "pending"} & record.keys():
            may_change.setdefault(record["model"], set()).add(f"{record['models']}|{job_id}")
    prefix = keys.fallback_jobs("")
    found = world.client.scan_iter(prefix.replace("{", "[{]") + "*", count=1000)
    assert {str(key).removeprefix(prefix): _members(world, str(key)) for key in found} == may_change


def _assert_groups(
    world: World,
    name: str,
    records: dict[str, dict[str, str]],
    leases: set[str],
    by_lane: dict[str, set[str]],
    group_of: str,
    before_all: int,
) -> None:
    prefix, ready = f"{{dr}}:q:{name}:", _by_group(by_lane)
    per_group = Counter(records[member][group_of] for member in leases)
    active = _active(world, prefix, by_lane)
    groups = _records(world, f"q:{name}:group:")
    assert {group: int(facts.get("running", 0)) for group, facts in groups.items()} == {
        group: per_group[group] for group in groups
    }
    assert set(per_group) <= set(groups)
    can = {group for group in ready if per_group[group] < _cap(world, group)}
    assert set(active) == can
    assert {group: facts["tag"] for group, facts in groups.items() if "tag" in facts} == active
    lanes = {str(lane) for lane in world.client.smembers(prefix + "lanes")}
    assert {line.rpartition(":")[2] for line in by_lane if line.rpartition(":")[0] in can} <= lanes
    claimable = int(world.client.hget(prefix + "state", "claimable") or 0)
    assert claimable == before_all + sum(len(ready[group]) for group in can)
    for group in groups:
        idle = group not in ready and not per_group[group]
        assert (world.client.ttl(f"{prefix}group:{group}") > 0) is idle


_SETS = ("paid", "isolated", "due", "leases")


def _by_group(by_lane: dict[str, set[str]]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for line, members in by_lane.items():
        groups.setdefault(line.rpartition(":")[0], set()).update(members)
    return groups


def _active(world: World, prefix: str, by_lane: dict[str, set[str]]) -> dict[str, str]:
    """Read the tags of the groups that can be chosen: the same in each of their lanes."""
    active: dict[str, str] = {}
    for key in world.client.scan_iter(f"{prefix.replace('{', '[{]')}active:*", count=1000):
        lane = str(key).removeprefix(f"{prefix}active:")
        for tag in _members(world, str(key)):
            assert active.setdefault(tag[16:], tag) == tag
            assert by_lane[f"{tag[16:]}:{lane}"]
    return active


def _cap(world: World, group: str) -> float:
    given = world.client.hget(keys.tenant(group), "max_running")
    return float(given) if given else float("inf")


_DELIVERIES = "{dr}:q:deliveries:"


def _assert_deliveries(world: World, deliveries: dict[str, dict[str, str]]) -> None:
    """Compare lines, turns, slots and threads with the deliveries."""
    lines = _by_suffix(world, "line:")
    waiting = Counter(member for line in lines.values() for member in line)
    waiting.update(_members(world, f"{_DELIVERIES}due"))
    pending = {key for key, one in deliveries.items() if one["state"] == "pending"}
    assert waiting == Counter(pending)
    for line, members in lines.items():
        owners = {f"{deliveries[one]['tenant']}:{deliveries[one]['host']}" for one in members}
        assert owners == {line}
    held = hash_of(world, f"{_DELIVERIES}sending")
    sending = {key for key, one in deliveries.items() if one["state"] == "sending"}
    assert set(held) == _members(world, f"{_DELIVERIES}leases") == sending
    _assert_held(world, list(held.values()))
    _assert_turns(world, lines, Counter(deliveries[one]["host"] for one in sending))


def _by_suffix(world: World, kind: str) -> dict[str, set[str]]:
    found = world.client.scan_iter(f"[{{]dr}}:q:deliveries:{kind}*", count=1000)
    prefix = f"{_DELIVERIES}{kind}"
    return {str(key).removeprefix(prefix): _members(world, str(key)) for key in found}


def _assert_held(world: World, held: list[str]) -> None:
    """Compare the slots and threads in use with what each delivery being sent holds."""
    parts = [one.split(" ", 2) for one in held]
    hosts = Counter(names[int(length) :] for _, length, names in parts)
    for host, count in hosts.items():
        assert world.client.get(f"{_DELIVERIES}slots:{host}") == str(count)
    assert len(list(world.client.scan_iter("[{]dr}:q:deliveries:slots:*"))) == len(hosts)
    unproven = Counter(names[: int(length)] for mark, length, names in parts if mark == "1")
    tenants = _records(world, "q:deliveries:tenant:")
    assert {name: int(one.get("unproven", 0)) for name, one in tenants.items()} == {
        name: unproven[name] for name in tenants
    }
    assert set(unproven) <= set(tenants)
    assert int(world.client.hget(f"{_DELIVERIES}state", "unproven") or 0) == unproven.total()


def _assert_turns(world: World, lines: dict[str, set[str]], slots: Counter[str]) -> None:
    """Compare who has a turn with the lines: each line has one, or waits for a slot."""
    turns = {
        f"{tenant}:{host}"
        for kind in ("responsive:", "unproven:")
        for tenant, hosts in _by_suffix(world, kind).items()
        for host in hosts
    }
    full = _by_suffix(world, "full:")
    waiting = {f"{tenant}:{host}" for host, tenants in full.items() for tenant in tenants}
    assert turns | waiting == set(lines)
    assert not turns & waiting
    cap = world.settings.webhook_max_per_host
    for host in full:
        assert slots[host] + sum(line.split(":", 1)[1] == host for line in turns) >= cap
    crowded = _members(world, f"{_DELIVERIES}crowded")
    tags = {tag[16:]: tag for tag in _members(world, f"{_DELIVERIES}tenants")}
    assert set(tags).isdisjoint(crowded)
    assert set(tags) | crowded == {line.split(":", 1)[0] for line in turns}
    claimable = 0
    for name, one in _records(world, "q:deliveries:tenant:").items():
        ready = sum(len(lines[line]) for line in turns if line.split(":", 1)[0] == name)
        assert int(one.get("ready", 0)) == ready
        assert one.get("tag") == tags.get(name)
        claimable += ready if name in tags else 0
        is_idle = not ready and not int(one.get("unproven", 0))
        assert (world.client.ttl(f"{_DELIVERIES}tenant:{name}") > 0) is is_idle
    assert int(world.client.hget(f"{_DELIVERIES}state", "claimable") or 0) == claimable


def _assert_counts(
    world: World,
    records: dict[str, dict[str, str]],
    deliveries: dict[str, dict[str, str]],
    staged: dict[str, dict[str, str]],
) -> None:
    born = {key: record for key, record in staged.items() if _is_committed(world, record)}
    statuses = Counter(
        State(record["state"]).status.value for record in [*records.values(), *born.values()]
    )
    told = {str(name): int(number) for name, number in world.client.hgetall(keys.counts()).items()}
    _assert_delivery_counts(world, told, _subjects(world, records), deliveries)
    assert {name: number for name, number in told.items() if number} == dict(statuses)
    unfinished = {key for key, one in records.items() if not State(one["state"]).is_final}
    assert set(world.client.zrange(keys.deadlines(), 0, -1)) == unfinished
    assert set(world.client.zrange(keys.expiries(), 0, -1)) == set(records) - unfinished
    per_index: dict[tuple[str, str], set[str]] = {}
    for key, record in {**records, **staged}.items():
        status = State(record["state"]).status.value
        for whose in (record["tenant"], ""):
            per_index.setdefault((whose, status), set()).add(key)
    for (whose, status), members in per_index.items():
        assert _members(world, keys.jobs_by(whose, "status", status)) == members
    for status in {one.value for one in Status} - {status for _, status in per_index}:
        assert not _members(world, keys.jobs_by("", "status", status))
    per_code: dict[str, set[str]] = {}
    for key, record in records.items():
        if "error_code" in record:
            per_code.setdefault(record["error_code"], set()).add(key)
    for code in ErrorCode:
        assert _members(world, keys.jobs_by("", "error", code)) == per_code.get(code, set())


def _subjects(world: World, jobs: dict[str, dict[str, str]]) -> set[str]:
    """Return all that deliveries can be about."""
    return {*jobs, *_records(world, "batch:"), *_records(world, "tenant_event:")}


def _assert_delivery_counts(
    world: World, told: dict[str, int], jobs: set[str], deliveries: dict[str, dict[str, str]]
) -> None:
    """Compare counts, indexes, parked deliveries and endpoints; remove what was compared."""
    endpoints = _records(world, "endpoint:")
    states: dict[str, Counter[str]] = {name: Counter() for name in endpoints}
    for record in deliveries.values():
        states[record["endpoint"]][record["state"]] += 1
    _assert_subscriptions(world, endpoints)
    _assert_episodes(world)
    for name, record in endpoints.items():
        own = {key: one for key, one in deliveries.items() if one["endpoint"] == name}
        _assert_endpoint(world, name, record, own)
    assert told.pop("webhook_pending", 0) == sum(
        one["state"] in UNSETTLED for one in deliveries.values()
    )
    assert told.pop("webhook_parked", 0) == sum(one["parked"] for one in states.values())
    by_darkroom = ("off" in one and "uncounted" not in one for one in endpoints.values())
    assert told.pop("endpoints_disabled", 0) == sum(by_darkroom)
    assert told.pop("endpoints_failing", 0) == sum("next" in one for one in endpoints.values())
    assert {record["subject"] for record in deliveries.values()} <= jobs
    _assert_delivery_indexes(world, deliveries)


def _assert_endpoint(
    world: World, name: str, record: dict[str, str], deliveries: dict[str, dict[str, str]]
) -> None:
    """Compare an endpoint with its deliveries."""
    owed = {key for key, one in deliveries.items() if one["state"] in UNSETTLED}
    counted = (int(record.get("pending", 0)), int(record.get("kept", 0)))
    assert counted == (len(owed), len(deliveries))
    parked = {key for key in owed if deliveries[key]["state"] == "parked"}
    assert _members(world, keys.parked(name)) == parked
    standing = {key for key in owed if "standing" in deliveries[key]}
    assert _members(world, keys.standing_deliveries(name)) == standing
    if "tenant" not in record:  # deleted, and kept for the URL of its deliveries
        assert (owed, set(record)) == (set(), {"url", "kept"})
        return
    assert name in _members(world, keys.endpoints(record["tenant"]))
    assert owed or "retired" not in record
    # every parked delivery has an endpoint that will send it
    awaited = (
        record.get("off")
        or record.get("probe")
        or world.client.zscore(keys.endpoint_backlogs(), name)
    )
    assert not parked or awaited or world.client.zscore(keys.endpoint_probes(), name) is not None


def _assert_subscriptions(world: World, endpoints: dict[str, dict[str, str]]) -> None:
    """Compare what tenants list with the endpoints."""
    listed = {
        line
        for record in _records(world, "tenant:").values()
        for line in record.get("subscriptions", "").splitlines()
    }
    assert listed == {
        f"{name} {record['events']}" for name, record in endpoints.items() if "events" in record
    }


def _assert_episodes(world: World) -> None:
    """Compare episodes with the endpoints of operators, without which there is none."""
    episodes = hash_of(world, keys.episodes())
    assert not episodes or world.client.hexists(keys.tenant(OPERATORS), "subscriptions")
    for name, written in episodes.items():
        episode = json.loads(written)
        assert name.partition(" ")[0] in set(ENDS)
        assert episode["began"] <= episode.get("cleared", float("inf"))
        assert "opened" not in episode or "data" in episode


def _assert_delivery_indexes(world: World, deliveries: dict[str, dict[str, str]]) -> None:
    for tenant in {record["tenant"] for record in deliveries.values()}:
        of_it = {key: one for key, one in deliveries.items() if one["tenant"] == tenant}
        assert _members(world, keys.deliveries(tenant)) == set(of_it)
        failed = {key for key, one in of_it.items() if one["state"] == "failed"}
        assert _members(world, keys.failed_deliveries(tenant)) == failed
    everybodys = {key for key, one in deliveries.items() if one["state"] == "failed"}
    assert _members(world, keys.deliveries("")) == set(deliveries)
    assert _members(world, keys.failed_deliveries("")) == everybodys


def _is_committed(world: World, record: dict[str, str]) -> bool:
    return bool(world.client.hexists(keys.batch(record["batch"]), "committed"))


def _assert_batches(
    world: World, records: dict[str, dict[str, str]], staged: dict[str, dict[str, str]]
) -> None:
    """Compare what each batch counts with its jobs, of which none may be forgotten."""
    unborn = Counter(
        record["tenant"] for record in staged.values() if not _is_committed(world, record)
    )
    told = {
        str(key): int(value) for key, value in world.client.hgetall(keys.staged_counts()).items()
    }
    assert {tenant: count for tenant, count in told.items() if count} == dict(unborn)
    for batch_id, batch in _records(world, "batch:").items():
        if "committed" in batch:
            jobs = [*records.values(), *staged.values()]
            statuses = Counter(
                State(job["state"]).status.value for job in jobs if job.get("batch") == batch_id
            )
            assert {name: int(batch.get(name, 0)) for name in Status} == {
                name: statuses[name] for name in Status
            }


def _members(world: World, key: str) -> set[str]:
    return {str(member) for member in world.client.zrange(key, 0, -1)}


def _assert_permits(world: World) -> None:
    for queue, name in (("generate", "jobs"), ("deliver", "deliveries")):
        bound = int(world.client.hget(keys.queue_state(name), "bound") or 16)
        assert world.permits(queue) <= bound
