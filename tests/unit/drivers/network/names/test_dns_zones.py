import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from drivers.network.names import wire
from drivers.network.names.answers import MAX_UDP_ADDRESSES, Answer, drawn, own_answer, packed
from drivers.network.names.zones import Addresses, Member, Zones
from tests.unit.drivers.network.names.test_dns_wire import edns, query


def name(text: str) -> bytes:
    return wire.encode_name(text)


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def ask(zones: Zones, sandbox: str, text: str, kind: int = wire.A, *, forward: bool = True) -> Answer | None:
    return own_answer(zones, sandbox, wire.parse_query(query(name(text).upper(), kind)), forward=forward)


def zones() -> Zones:
    made = Zones()
    made.set("web", [("front", ("web", "shop.example"), ("10.0.1.2", "fd00::2")), ("back", ("web",), ("10.0.2.2",))])
    made.set("db", [("back", ("db", "store"), ("10.0.2.3",))])
    made.set("db2", [("back", ("db2", "store"), ("10.0.2.4",))])
    made.set("other", [("front", ("other",), ("10.0.1.9",))])
    return made


def test_names_are_seen_on_ones_own_networks_alone() -> None:
    made = zones()
    assert made.addresses("web", name("db")) == Addresses((address("10.0.2.3"),), ())
    assert made.addresses("other", name("db")) is None
    assert made.addresses("other", name("web")) == Addresses((address("10.0.1.2"),), (address("fd00::2"),))
    assert made.addresses("db", name("web")) == Addresses((address("10.0.2.2"),), ())
    assert made.addresses("web", name("web")) == Addresses(
        (address("10.0.1.2"), address("10.0.2.2")), (address("fd00::2"),)
    )
    assert made.addresses("nobody", name("web")) is None


def test_a_name_may_be_many_members() -> None:
    made = zones()
    found = made.addresses("db", name("store"))
    assert found is not None
    assert set(found.ipv4) == {address("10.0.2.3"), address("10.0.2.4")}
    made.remove("db")
    assert made.addresses("web", name("store")) == Addresses((address("10.0.2.4"),), ())
    made.remove("db2")
    assert made.addresses("web", name("store")) is None


def test_the_first_name_is_the_addresss() -> None:
    made = zones()
    assert made.names_at("other", address("10.0.1.2")) == (name("web"),)
    assert made.names_at("other", address("fd00::2")) == (name("web"),)
    assert made.names_at("other", address("10.0.2.3")) == ()
    answer = ask(made, "other", "2.1.0.10.in-addr.arpa", wire.PTR)
    assert answer == Answer(0, [(wire.PTR, name("web"))])
    assert ask(made, "other", "3.2.0.10.in-addr.arpa", wire.PTR) is None
    assert ask(made, "other", "3.2.0.10.in-addr.arpa", wire.PTR, forward=False) == Answer(wire.NXDOMAIN)


def test_what_is_answered_and_what_is_forwarded() -> None:
    made = zones()
    assert ask(made, "web", "db") == Answer(0, [(wire.A, address("10.0.2.3"))])
    assert ask(made, "web", "db", wire.AAAA) == Answer(0, [])  # the name is there, such an address is not
    assert ask(made, "web", "db", 15) == Answer(0, [])
    assert ask(made, "web", "shop.example", wire.AAAA) == Answer(0, [(wire.AAAA, address("fd00::2"))])
    assert ask(made, "web", "nobody") == Answer(wire.NXDOMAIN)
    assert ask(made, "web", "example.org") is None
    assert ask(made, "web", "example.org", forward=False) == Answer(wire.NXDOMAIN)
    assert ask(made, "db", "shop.example") is None  # another network's: it is asked of the world
    assert ask(made, "web", "example.org", wire.AXFR) == Answer(wire.NOTIMP)
    chaos = wire.parse_query(query(name("version.bind"), 16, 3))
    assert own_answer(made, "web", chaos, forward=True) == Answer(wire.REFUSED)
    newer = wire.parse_query(query(opt=edns(version=3)))
    assert own_answer(made, "web", newer, forward=True) == Answer(wire.BADVERS)


def test_localhost_is_the_asker_itself_whoever_is_called_so() -> None:
    made = Zones()
    made.set("web", [("front", ("localhost", "x.localhost", "nolocalhost"), ("10.0.0.2", "fd00::2"))])
    for text in ("localhost", "x.localhost", "a.b.LOCALHOST"):
        for forward in (True, False):
            assert ask(made, "web", text, forward=forward) == Answer(wire.NOERROR, [(wire.A, address("127.0.0.1"))])
            found = ask(made, "web", text, wire.AAAA, forward=forward)
            assert found == Answer(wire.NOERROR, [(wire.AAAA, address("::1"))])
            assert ask(made, "web", text, wire.PTR, forward=forward) == Answer(wire.NOERROR, [])
            assert len((ask(made, "web", text, wire.ANY, forward=forward) or Answer(9)).records) == 2
    assert ask(made, "web", "nolocalhost") == Answer(wire.NOERROR, [(wire.A, address("10.0.0.2"))])
    assert ask(made, "web", "localhost.example") is None
    within = wire.parse_query(query(b"\x0ba\x09localhost\0", wire.A))  # one label, with a byte in it that is no length
    assert own_answer(made, "web", within, forward=True) == Answer(wire.NXDOMAIN)
    assert ask(made, "web", "2.0.0.10.in-addr.arpa", wire.PTR) == Answer(wire.NOERROR, [(wire.PTR, name("localhost"))])


def test_all_addresses_in_random_order_and_no_more_than_a_datagram_should_have() -> None:
    made = Zones()
    for number in range(100):
        made.set(f"s{number}", [("n", ("web",), (f"10.0.0.{number}",))])
    asked = wire.parse_query(query(name("web"), opt=edns(4096)))
    answer = own_answer(made, "s0", asked, forward=True)
    assert answer is not None
    assert len(set(answer.records)) == 100
    orders = set()
    seen: set[bytes] = set()
    for _ in range(100):
        data = packed(asked, answer, udp=True)
        assert int.from_bytes(data[6:8], "big") == MAX_UDP_ADDRESSES
        assert data[2] & 2  # TCP has the others
        seen.update(data[21 + 12 + 16 * n : 21 + 16 + 16 * n] for n in range(MAX_UDP_ADDRESSES))
        stream = packed(asked, answer, udp=False)
        assert int.from_bytes(stream[6:8], "big") == 100
        assert not stream[2] & 2
        orders.add(stream)
    assert len(orders) == 100
    assert seen == {address(f"10.0.0.{number}") for number in range(100)}


@given(st.lists(st.integers(), max_size=30), st.integers(0, 40))
def test_what_is_drawn_is_of_the_items_and_each_once(items: list[int], count: int) -> None:
    got = drawn(items, count)
    assert len(got) == min(count, len(items))
    left = list(items)
    for one in got:
        left.remove(one)


MEMBER = st.tuples(
    st.sampled_from(["n1", "n2", "n3"]),
    st.lists(st.sampled_from(["a", "b", "c.d"]), max_size=3, unique=True).map(tuple),
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), max_size=2, unique=True).map(tuple),
)
STEP = st.tuples(st.sampled_from("xyz"), st.none() | st.lists(MEMBER, max_size=3, unique_by=lambda member: member[0]))


@given(st.lists(STEP, max_size=12))
def test_the_index_is_what_was_last_set(steps: list[tuple[str, list[Member] | None]]) -> None:
    made = Zones()
    model: dict[str, list[Member]] = {}
    for sandbox, members in steps:
        if members is None:
            made.remove(sandbox)
            model.pop(sandbox, None)
        else:
            made.set(sandbox, members)
            model[sandbox] = members
        check(made, model)
    for sandbox in "xyz":
        made.remove(sandbox)
    assert not any(vars(made).values())


def check(made: Zones, model: dict[str, list[Member]]) -> None:
    for sandbox in "xyz":
        mine = {network for network, _, _ in model.get(sandbox, ())}
        visible = [m for members in model.values() for m in members if m[0] in mine]
        for text in ("a", "b", "c.d"):
            named = [m for m in visible if text in m[1]]
            found = made.addresses(sandbox, name(text))
            assert (found is not None) == bool(named)
            if found is not None:
                expected = {address(one) for _, _, addresses in named for one in addresses}
                assert {*found.ipv4, *found.ipv6} == expected
        for text in ("10.0.0.1", "10.0.0.2", "fd00::1"):
            expected_names = {name(m[1][0]) for m in visible if text in m[2] and m[1]}
            assert set(made.names_at(sandbox, address(text))) == expected_names
