package cluster

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// nftTable is the only nftables table this package makes itself; kube-proxy makes "kube-proxy".
const nftTable = "aftermesh-cluster"

// sysctls that a node needs, as file below /proc/sys; missing ones belong to modules that are not there.
var sysctls = map[string]string{
	"net/ipv4/ip_forward":                 "1",
	"net/bridge/bridge-nf-call-iptables":  "1",
	"net/bridge/bridge-nf-call-ip6tables": "1",
	"net/ipv4/conf/all/rp_filter":         "0",
	"fs/inotify/max_user_instances":       "8192",
	"fs/inotify/max_user_watches":         "524288",
}

// saveSysctls sets the sysctls and writes down what they were. IPv6 forwarding ends
// the acceptance of router advertisements, so it is touched only by a cluster with IPv6.
func saveSysctls(file string, ipv6 bool) error {
	before, wanted := map[string]string{}, maps.Clone(sysctls)
	if ipv6 {
		wanted["net/ipv6/conf/all/forwarding"] = "1"
	}
	for name, want := range wanted {
		path := filepath.Join("/proc/sys", name)
		have, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(have)) == want {
			continue
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err == nil {
			before[name] = strings.TrimSpace(string(have))
		}
	}
	data, err := json.Marshal(before)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// restoreSysctls puts back what saveSysctls found.
func restoreSysctls(file string) {
	before := map[string]string{}
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &before) != nil {
		return
	}
	for name, value := range before {
		_ = os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
	}
}

// cgroupRoots returns the top folder of every mounted cgroup hierarchy (one for v2, many for v1).
func cgroupRoots() []string {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	var roots []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 3 && (f[2] == "cgroup" || f[2] == "cgroup2") {
			roots = append(roots, f[1])
		}
	}
	return roots
}

// makeCgroups makes the cgroup below which kubelet puts every pod, so that Down finds all that ran.
func makeCgroups() error {
	for _, root := range cgroupRoots() {
		if err := os.Mkdir(filepath.Join(root, cgroupName), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
