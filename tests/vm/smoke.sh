#!/bin/sh
# Run inside the machine: the part of the tests that says most about another kernel and about cgroup v2 alone.
# Emulation makes it some ten times slower, so it is a choice and not the suite.
set -e
test "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs
for module in veth bridge nf_tables nft_ct nft_nat loop tun; do
  modprobe "$module"
done
lading --root /tmp doctor
lading --root /tmp doctor | grep "containers run with crun"
lading --root /tmp doctor | grep "cannot hold its table"
.venv/bin/python -m pytest -p no:cacheprovider --timeout=600 \
  tests/conformance/test_runtime.py tests/conformance/test_sandbox.py tests/conformance/test_snapshotter.py -m host
.venv/bin/python -m pytest -p no:cacheprovider --timeout=600 \
  tests/integration/test_leaks.py -k "quiet or cgroup or overlay or named_network or firewall_table or pidfd"
