package cluster

import (
	"os"
	"path/filepath"
	"strings"
)

// removeLogLinks removes the links that kubelet makes in a fixed place to our pods' logs.
func removeLogLinks(state string) {
	links, _ := filepath.Glob("/var/log/containers/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, state+"/") {
			_ = os.Remove(link)
		}
	}
	_ = os.Remove("/var/log/containers") // only if empty
}

// removeForeignFiles removes what kubelet, containerd and CNI plugins leave in places
// that no option moves. Folders go only when they are empty.
func removeForeignFiles() {
	// Sockets of shims: each bundle names its own.
	files, _ := filepath.Glob(filepath.Join(runDir, "containerd", "io.containerd.runtime.v2.task", "*", "*", "address"))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		if path, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "unix://"); ok && strings.HasPrefix(path, "/run/containerd/s/") {
			_ = os.Remove(path)
		}
	}
	// Cached results of our CNI network, and of the loopback network of the same sandboxes.
	results, _ := filepath.Glob("/var/lib/cni/results/aftermesh-*-eth0")
	for _, file := range results {
		sandbox := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "aftermesh-"), "-eth0")
		_ = os.Remove(file)
		_ = os.Remove("/var/lib/cni/results/cni-loopback-" + sandbox + "-lo")
	}
	const plugins = "/var/lib/kubelet/device-plugins"
	_ = os.Remove(plugins + "/kubelet.sock")
	_ = os.Remove(plugins + "/kubelet_internal_checkpoint")
	for _, dir := range []string{"/run/containerd/s", "/run/containerd", "/var/lib/cni/results", "/var/lib/cni", plugins, "/var/lib/kubelet"} {
		_ = os.Remove(dir)
	}
}
