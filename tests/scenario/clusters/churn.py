"""Random changes of endpoints under load, by `headgate set` and by a watched file, and what must not come of them. As a
program (`churn.py COUNT`) it prints figures and faults as JSON, for the long runs."""
import collections
import heapq
import json
import math
import pathlib
import random
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "http")]

from churn_site import THRESHOLD, Cluster, Site  # noqa: E402  (found by the line above)
from configuration import configure, under  # noqa: E402
from gateway import Gateway, wait_until  # noqa: E402
from wire import PATIENCE  # noqa: E402

RING_SIZE, TABLE_SIZE = 1024, 4099
AFTER_RETURN = 10               # changes at least, after the ejected endpoints have come back
HASH = {"hash": [{"header": "x-key"}]}


class Churn:
    """A gateway of two workers and four clusters: changes() makes random changes under load, faults() says what went wrong."""

    def __init__(self, gateway, ejection_seconds):
        self.gateway, self.ejection_seconds = gateway, ejection_seconds
        self.turns = Cluster("turns", 1, by_file=False, delay=0.001, balancer="round-robin")
        self.least = Cluster("least", 6, by_file=True, balancer="least-request")
        self.ring = Cluster("ring", 4, by_file=False, keys=64, balancer="ring-hash", balancing={**HASH, "ring-size": RING_SIZE})
        self.maglev = Cluster("maglev", 4, by_file=True, keys=64, balancer="maglev", balancing={**HASH, "table-size": TABLE_SIZE})
        self.clusters = [self.turns, self.least, self.ring, self.maglev]
        self.site = Site(self.clusters)
        self.kinds, self.held, self.while_ejected, self.trouble = collections.Counter(), 0, 0, []
        self.back_at = math.inf  # all that were ejected are known to be used again

    # ---- the configuration

    def file_of(self, cluster):
        return self.gateway.folder / f"{cluster.name}.json"

    def declared(self, cluster):
        detection = {"consecutive-5xx": THRESHOLD, "consecutive-gateway-failures": 0, "consecutive-local-failures": 0,
                     "base-ejection": f"{self.ejection_seconds}s", "max-ejected-percent": 50}
        where = {"discovery": {"file": str(self.file_of(cluster))}} if cluster.by_file else {"endpoints": cluster.endpoints()}
        return {"name": cluster.name, "idle-connections": 64, "idle-timeout": "1h", "outlier-detection": detection,
                **cluster.options, **where}

    def write(self, cluster):
        """The file as a whole, at one moment."""
        path = self.file_of(cluster)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(cluster.endpoints()))
        new.rename(path)

    def serve(self):
        for cluster in self.clusters:
            if cluster.by_file:
                self.write(cluster)
        rules = [under(f"/{cluster.name}", cluster.name) for cluster in self.clusters]
        self.gateway.serve({**configure(self.gateway, [self.declared(c) for c in self.clusters], rules), "access-log": "off"})
        for cluster in self.clusters:  # files are read a moment later
            self.site.do(cluster.ask_until(self.gateway.port, lambda: all(o.requests for o in cluster.untouched)))

    # ---- before the load

    def eject(self):
        """Of each cluster the first endpoint that stays, by as many failures as it takes."""
        self.ejections = self.gateway.metric("ejections_total")
        for number, cluster in enumerate(self.clusters, 1):
            sick = cluster.ejected
            sick.status, sick.times = 500, []
            self.site.do(cluster.ask_until(self.gateway.port, lambda: len(sick.times) == THRESHOLD))
            self.gateway.wait_metric("ejections_total", lambda count: count == self.ejections + number)
            sick.status = 200
            cluster.out_until = sick.times[-1] + self.ejection_seconds
        self.connected = {o: o.accepted for o in self.all_untouched()}

    def all_untouched(self):
        return [origin for cluster in self.clusters for origin in cluster.untouched]

    # ---- changes

    def serves(self):
        """How often data planes have switched to changed endpoints."""
        return self.gateway.metric("controlplane_endpoint_serves_total", self.gateway.control_admin_port)

    def apply(self, cluster):
        """Returns when every worker has it."""
        cluster.begun += 1
        if cluster.by_file:
            before = self.serves()
            self.write(cluster)
            wait_until("the file is served", lambda: self.serves() > before)
        else:
            path = self.file_of(cluster)
            path.write_text(json.dumps(self.declared(cluster)))
            done = self.gateway.headgate("set", f"cluster/{cluster.name}", path, "--output", "json")
            assert done.returncode == 0, done.stderr + done.stdout
        cluster.acked = cluster.begun

    def pick(self, cluster):
        """(kind, origin, members afterwards), by chance."""
        members = dict(cluster.members[-1])
        origin = random.choice(cluster.moving)
        if origin.name not in members:
            return "add", origin, {**members, origin.name: random.randint(1, 3)}
        if random.random() < 0.5:
            return "remove", origin, {name: weight for name, weight in members.items() if name != origin.name}
        other = random.choice([weight for weight in (1, 2, 3) if weight != members[origin.name]])
        return "weight", origin, {**members, origin.name: other}

    def change(self):
        cluster = random.choice(self.clusters)
        kind, origin, members = self.pick(cluster)
        gate = None
        if kind == "remove" and cluster in (self.turns, self.least):
            gate = self.site.hold(origin)
            wait_until("a request under way there", lambda: origin.holding or cluster.failures)
        cluster.members.append(members)
        self.apply(cluster)
        self.kinds[f"{kind} by {'file' if cluster.by_file else 'set'}"] += 1
        if gate:
            self.end_held(cluster, gate)
        self.look_at_ejections()

    def end_held(self, cluster, gate):
        """What was under way at an endpoint that has left ends well: the client notes a failure otherwise."""
        before = sum(answer.is_held for answer in cluster.answers)
        self.site.release(gate)
        wait_until("what was under way there has ended",
                   lambda: sum(answer.is_held for answer in cluster.answers) > before or cluster.failures)
        self.held += 1

    def look_at_ejections(self):
        before = time.monotonic()
        out = self.gateway.metric("endpoints_ejected")
        now = time.monotonic()
        if out == 0:
            self.back_at = min(self.back_at, now)
        if self.back_at == math.inf and before > max(cluster.out_until for cluster in self.clusters) + PATIENCE:
            self.trouble.append(f"{out} endpoints are still ejected")
        if now < min(cluster.out_until for cluster in self.clusters) - 1:
            if out != len(self.clusters):
                self.trouble.append(f"{out} endpoints are ejected instead of {len(self.clusters)}")
            self.while_ejected += 1

    def changes(self, count):
        """So many changes, and more until the ejected endpoints have come back. Ends early when something went wrong."""
        self.site.start_load(self.gateway.port)
        made = after = 0
        while (made < count or after < AFTER_RETURN) and not self.trouble and not any(c.failures for c in self.clusters):
            self.change()
            made += 1
            after += self.back_at < math.inf
        self.site.stop_load()
        return made

    # ---- what must not have happened

    def faults(self):
        found = [failure for cluster in self.clusters for failure in cluster.failures] + self.trouble
        for check in (self.strangers, self.pools, self.ejection_faults, self.positions, self.ring_faults, self.maglev_faults):
            found += check()
        return found

    def strangers(self):
        """Answers of endpoints that were no members from when the request was sent until it was answered."""
        return [f"{answer.origin} answered, between changes {answer.acked} and {answer.begun}"
                for cluster in self.clusters for answer in cluster.answers
                if not any(answer.origin in members for members in cluster.members[answer.acked:answer.begun + 1])]

    def pools(self):
        """A worker connects to an endpoint only while its connections there are all in use, so there are never more than
        clients, and one more of the client before the load."""
        return [f"{o.name}: {o.accepted} connections of {cluster.clients} clients, {o.closed} closed"
                for cluster in self.clusters for o in cluster.untouched if o.accepted > cluster.clients + 1 or o.closed]

    def ejection_faults(self):
        found = []
        for cluster in self.clusters:
            early = sum(cluster.ejected.times[THRESHOLD - 1] < at < cluster.out_until for at in cluster.ejected.times)
            if early or len(cluster.ejected.times) <= THRESHOLD:
                found.append(f"{cluster.ejected.name}: {early} requests while it was ejected, {len(cluster.ejected.times)} in all")
        count = self.gateway.metric("ejections_total") - self.ejections
        if count != len(self.clusters):
            found.append(f"{count} ejections of {len(self.clusters)} endpoints")
        return found

    def positions(self):
        """Round robin of one worker, since there is one client: each turn of an endpoint moves its deadline on by 1 / weight,
        and deadlines lie within 1 / weight behind the turn that is due. So turns by weight of two endpoints never drift
        apart by more than both steps, whatever comes and goes beside them."""
        self.drift = []
        names = {o.name: o.weight for o in self.turns.counted}
        order = [answer.origin for answer in self.turns.answers if answer.origin in names]
        for a, wa in names.items():
            for b, wb in names.items():
                if a < b:
                    self.drift.append((spread(order, {a: 1 / wa, b: -1 / wb}), 1 / wa + 1 / wb, f"{a} and {b}"))
        return [f"{what}: their turns by weight are {drift:.2f} apart, at most {most:.2f} is possible"
                for drift, most, what in self.drift if drift > most + 1e-9]

    def ring_faults(self):
        """A key goes from one endpoint to another only if the first has lost points, or the second has got some."""
        scales = {scale_of(members) for members in self.ring.members}
        assert len(scales) == 1, f"the test itself moves points: {scales}"
        moves = [(before, after) for before, after in successive(self.ring) if before.origin != after.origin]
        self.ring_moves = len(moves)
        return [f"key {after.key}: from {before.origin} to {after.origin} between changes {before.acked} and {after.acked}"
                for before, after in moves if not self.may_move(self.ring, before, after)]

    def may_move(self, cluster, before, after):
        def weights(name):
            return [members.get(name, 0) for members in cluster.members[before.acked:after.acked + 1]]

        lost = any(a > b for a, b in zip(weights(before.origin), weights(before.origin)[1:]))
        got = any(a < b for a, b in zip(weights(after.origin), weights(after.origin)[1:]))
        is_back = after.origin == cluster.ejected.name and before.sent_at <= self.back_at and after.at >= cluster.out_until
        return lost or got or is_back

    def maglev_faults(self):
        """Keys that a change moves, though neither endpoint is the one that changes: no more than with permutations of
        chance in a table of this size."""
        cluster, shares = self.maglev, {}
        self.maglev_pairs = self.maglev_moved = self.maglev_expected = 0
        for before, after in successive(cluster):
            are_out = after.at < cluster.out_until
            if after.acked != before.acked + 1 or not (are_out or before.sent_at > self.back_at):
                continue
            a, b = cluster.members[before.acked:after.acked + 1]
            if (after.acked, are_out) not in shares:
                shares[after.acked, are_out] = moved_share(a, b, {cluster.ejected.name} if are_out else set())
            self.maglev_pairs += 1
            self.maglev_expected += shares[after.acked, are_out]
            self.maglev_moved += moves_of_others(a, b, before.origin, after.origin)
        most = 1.5 * self.maglev_expected + 6 * math.sqrt(self.maglev_expected)
        return [f"{self.maglev_moved} of {self.maglev_pairs} keys moved, at most {most:.0f} are expected"] \
            if self.maglev_moved > most else []

    def figures(self):
        return {"kinds": dict(self.kinds), "held": self.held, "while_ejected": self.while_ejected,
                "answers": sum(len(cluster.answers) for cluster in self.clusters),
                "connections": sum(o.accepted - self.connected[o] for o in self.all_untouched()),
                "drift": max(drift / most for drift, most, _ in self.drift), "ring_moves": self.ring_moves,
                "maglev": [self.maglev_moved, round(self.maglev_expected), self.maglev_pairs],
                "closed": sum(o.closed for o in self.all_untouched())}


def spread(order, steps):
    """From the lowest to the highest of what these add up to."""
    at = low = high = 0
    for name in order:
        at += steps.get(name, 0)
        low, high = min(low, at), max(high, at)
    return high - low


def successive(cluster):
    """For each key its answers one after the other, of those that no change was under way in."""
    last = {}
    for answer in cluster.answers:
        if answer.acked != answer.begun:
            continue
        if answer.key in last:
            yield last[answer.key], answer
        last[answer.key] = answer


def moves_of_others(a, b, before, after):
    """Whether a key has moved, between members that are the same before and after."""
    return before != after and a[before] == b.get(before) and a.get(after) == b[after]


def maglev_table(members):
    """Section 3.4 of the paper, with permutations of chance: turns by earliest deadline, as weights ask for."""
    table, heap = [None] * TABLE_SIZE, []
    for name, weight in members.items():
        chance = random.Random(name)
        heap.append((1 / weight, chance.random(), 1 / weight, name, chance.randrange(TABLE_SIZE), chance.randrange(1, TABLE_SIZE)))
    heapq.heapify(heap)
    for _ in range(TABLE_SIZE):
        due, order, step, name, at, skip = heap[0]
        while table[at]:
            at = (at + skip) % TABLE_SIZE
        table[at] = name
        heapq.heapreplace(heap, (due + step, order, step, name, at, skip))
    return table


def moved_share(a, b, out):
    """Of the keys so many move from a to b though they need not; endpoints that are out are passed over."""
    tables = maglev_table(a), maglev_table(b)
    moved, chance = 0, random.Random(0)
    for slot in range(TABLE_SIZE):
        way = [slot, *(chance.randrange(TABLE_SIZE) for _ in range(20))]
        before, after = (next(table[at] for at in way if table[at] not in out) for table in tables)
        moved += moves_of_others(a, b, before, after)
    return moved / TABLE_SIZE


def scale_of(members):
    """Points for a weight of one: docs/internals say that it is a power of two, so that it seldom changes."""
    return 2 ** math.ceil(math.log2(max(RING_SIZE / sum(members.values()), 1 / min(members.values()))))


def churn(gateway, count, ejection_seconds):
    """(figures, faults) of so many changes at least."""
    churned = Churn(gateway, ejection_seconds)
    with churned.site:
        churned.serve()
        churned.eject()
        made = churned.changes(count)
        faults = churned.faults()
        return {"changes": made, **churned.figures()}, faults


if __name__ == "__main__":
    own = Gateway()
    try:
        own.start()
        FIGURES, FAULTS = churn(own, int(sys.argv[1]), int(sys.argv[2]))
        print(json.dumps({"figures": FIGURES, "faults": FAULTS[:20]}))
    finally:
        own.stop()
