# Sourced by the first process: names, addresses and settings that gemel gave this guest (fw_cfg), and
# the power button. Needs PATH to begin with busybox.

given() { # the value of one entry, empty when the host gave none
  cat "/sys/firmware/qemu_fw_cfg/by_name/opt/gemel/$1/raw" 2>/dev/null
}

set_up_network() { # every address is a /32; the gateway is link-local, the same on every host
  ip link set lo up
  [ -e /sys/class/net/eth0 ] || { echo "gemel: no network interface"; return; }
  ip link set eth0 up
  for address in $(given addresses); do
    ip addr add "$address/32" dev eth0
    source=${source:-$address}
  done
  ip route add 169.254.1.1/32 dev eth0 scope link
  ip route add default via 169.254.1.1 dev eth0 ${source:+src "$source"}
}

load_config() { # KEY='value' lines, quoted by the host, become variables of the environment
  mkdir -p /run/gemel
  (umask 077; given config.b64 | base64 -d > /run/gemel/config)
  set -a
  . /run/gemel/config
  set +a
}

watch_power_button() { # virsh shutdown without a guest agent arrives as an ACPI key press
  mkdir -p /run/acpi/PWRF
  printf '#!/bin/sh\nkill -TERM 1\n' > /run/acpi/PWRF/00000080
  chmod 755 /run/acpi/PWRF/00000080
  acpid -c /run/acpi -l /dev/null -p /run/acpid.pid
}

set_up() {
  hostname "$(given hostname)"
  set_up_network
  load_config
  watch_power_button
  # A peer that moved with its address does not answer for connections it never knew: notice within 2 s.
  echo 2 > /proc/sys/net/ipv4/tcp_syn_retries
}
