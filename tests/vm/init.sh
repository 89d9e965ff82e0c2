#!/bin/busybox sh
# The first program in the machine: makes the host's files the root, read-only below a layer in memory.
/bin/busybox mkdir -p /proc /sys /dev /host /over /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
  insmod "/modules/$module"
done </modules/order
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=1048576,ro hostroot /host
mount -t tmpfs -o size=80% tmpfs /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /root
for name in proc sys dev; do
  mount --move "/$name" "/root/$name"
done
exec switch_root /root /bin/sh "$(cat /stage)" "$(cat /kernel)"
