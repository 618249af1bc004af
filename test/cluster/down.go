package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Down removes the machine's cluster and all its traces, whatever state it is in.
// force also removes one that another working copy started.
func (l Layout) Down(ctx context.Context, p *Progress, force bool) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: run the command with sudo")
	}
	unlock, err := lock(ctx, p)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.mine(); err != nil && !force {
		return err
	}
	if err := l.clear(p); err != nil {
		return err
	}
	return os.Remove(lockFile)
}

// clear does Down's work: processes first, then what they held, then files.
func (l Layout) clear(p *Progress) error {
	procs := recorded(pidDir())
	if len(procs) > 0 {
		p.Step("Removing the cluster: processes and containers")
	}
	for _, proc := range procs {
		// kubelet would restart what is killed; containerd would forget where the shims' sockets are.
		if proc.Name == "kubelet" || proc.Name == "containerd" {
			if err := proc.stop(0); err != nil {
				return err
			}
		}
	}
	if err := killContainers(); err != nil {
		return err
	}
	for _, proc := range procs {
		if err := proc.stop(0); err != nil {
			return err
		}
	}
	if len(procs) > 0 {
		p.Step("Removing the cluster: mounts, network, cgroups, files")
	}
	states := []string{l.state()}
	if other := owner(); other != "" && other != l.Root {
		states = append(states, Layout{Root: other}.state())
	}
	for _, state := range states {
		restoreSysctls(filepath.Join(state, "sysctls.json"))
		removeLogLinks(state)
	}
	clearNetwork()
	if err := errors.Join(unmountBelow(append(states, runDir)), removeCgroups()); err != nil {
		return err
	}
	removeForeignFiles()
	for _, dir := range append(states, runDir) {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// killContainers ends every process in our cgroup and every shim of our containerd.
func killContainers() error {
	return poll(context.Background(), 20*time.Second, func() error {
		pids := append(cgroupProcesses(), shims()...)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d container processes survive SIGKILL", len(pids))
		}
		return nil
	})
}

// cgroupProcesses lists the processes in our cgroup of any hierarchy, zombies left out.
func cgroupProcesses() []int {
	var pids []int
	for _, root := range cgroupRoots() {
		_ = filepath.WalkDir(filepath.Join(root, cgroupName), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return nil //nolint:nilerr // a cgroup that goes away meanwhile is what we want
			}
			data, _ := os.ReadFile(path)
			for _, field := range strings.Fields(string(data)) {
				pid, err := strconv.Atoi(field)
				if _, state := startTime(pid); err == nil && pid > 1 && state != "" && state != "Z" {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	return pids
}

// shims lists the containerd shims whose command line names our containerd's socket.
func shims() []int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, file := range files {
		data, _ := os.ReadFile(file)
		args := strings.Split(string(data), "\x00")
		if !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") || !strings.Contains(string(data), "\x00"+socket()+"\x00") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// unmountBelow detaches every mount below the given folders, the youngest first. It
// fails if one stays: removing files below a mount could hit the user's own.
func unmountBelow(dirs []string) error {
	points, err := mountsBelow(dirs)
	if err != nil {
		return err
	}
	for i := len(points) - 1; i >= 0; i-- {
		_ = syscall.Unmount(points[i], syscall.MNT_DETACH)
	}
	left, err := mountsBelow(dirs)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("cannot unmount %s", strings.Join(left, ", "))
	}
	return err
}

// mountsBelow lists the mount points below the folders, oldest first.
func mountsBelow(dirs []string) ([]string, error) {
	dirs = slices.Clone(dirs)
	for i, dir := range dirs {
		// The kernel lists real paths, also where a folder was named through a symbolic link.
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dirs[i] = real
		}
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[4])
		if slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(point, dir+"/") }) {
			points = append(points, point)
		}
	}
	return points, nil
}

// removeCgroups removes our cgroup of every hierarchy, the deepest folders first.
func removeCgroups() error {
	return poll(context.Background(), 5*time.Second, func() error {
		var last error
		for _, root := range cgroupRoots() {
			var dirs []string
			_ = filepath.WalkDir(filepath.Join(root, cgroupName), func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
			for _, dir := range dirs {
				if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
					last = err
				}
			}
		}
		return last
	})
}

// clearNetwork removes the bridge (its routes go with it), our and kube-proxy's
// nftables tables and the chains that the portmap plugin leaves.
func clearNetwork() {
	if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
		_ = quiet("", "ip", "link", "delete", bridge)
	}
	for _, table := range []string{"inet " + nftTable, "ip kube-proxy", "ip6 kube-proxy"} {
		_ = quiet("", "nft", append([]string{"delete", "table"}, strings.Fields(table)...)...)
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		clearPortmap(tool)
	}
}

// clearPortmap removes rules and chains named CNI-HOSTPORT-* and CNI-DN-* from the nat table.
func clearPortmap(tool string) {
	out, err := exec.Command(tool+"-save", "-t", "nat").Output()
	if err != nil || !strings.Contains(string(out), "CNI-HOSTPORT") {
		return
	}
	script := "*nat\n"
	var chains []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ":CNI-HOSTPORT-"), strings.HasPrefix(line, ":CNI-DN-"):
			chains = append(chains, strings.Fields(line)[0][1:])
		case strings.HasPrefix(line, "-A ") && !strings.HasPrefix(line, "-A CNI-") && strings.Contains(line, "-j CNI-HOSTPORT-"):
			script += "-D" + line[2:] + "\n"
		}
	}
	for _, verb := range []string{"-F ", "-X "} {
		for _, chain := range chains {
			script += verb + chain + "\n"
		}
	}
	cmd := exec.Command(tool+"-restore", "--noflush")
	cmd.Stdin = strings.NewReader(script + "COMMIT\n")
	if cmd.Run() == nil {
		removeEmptyNat(tool)
	}
}

// removeEmptyNat removes the nat table that iptables-nft made for the portmap plugin, if nobody has a rule in it.
func removeEmptyNat(tool string) {
	out, err := exec.Command(tool+"-save", "-t", "nat").Output()
	if err != nil || strings.Contains(string(out), "\n-A ") || strings.Count(string(out), "\n:") != strings.Count(string(out), " ACCEPT [") {
		return
	}
	kind := map[string]string{"iptables": "ip", "ip6tables": "ip6"}[tool]
	_ = quiet("", "nft", "delete", "table", kind, "nat")
}
