#!/bin/sh
# The second: what an init system would have set up, then the command, its exit code, and off.
# $1 is the folder with the kernel's modules. The command lies in a folder shared with the host, which takes its output.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
mkdir -p /lib/modules && mount --bind "$1/lib/modules" /lib/modules
ip link set lo up
hostname vm
ulimit -n 1048576
mkdir -p /run/work /run/disk
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=262144 work /run/work
if [ -b /dev/vda ]; then
  blkid /dev/vda >/dev/null || mkfs.ext4 -q /dev/vda
  mount /dev/vda /run/disk
fi
cd /run/work || exit
install -m 755 lading /usr/local/bin/lading
sh ./command >output 2>&1 </dev/null
echo $? >status
cd /
umount /run/disk 2>/dev/null
sync
echo o >/proc/sysrq-trigger
sleep 60
