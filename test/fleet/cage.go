package fleet

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// Cage is a memory cgroup: the kernel kills a process in it that takes more than the limit. A nil Cage bounds nothing.
type Cage struct {
	// Limit is in bytes.
	Limit  int64
	folder string
	v2     bool
}

// memoryRoots are where the memory controller of version 1 and the hierarchy of version 2 are mounted, as far as they are.
func memoryRoots() (v1, v2 string, err error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		const where, kind, options = 1, 2, 3
		switch {
		case fields[kind] == "cgroup" && strings.Contains(","+fields[options]+",", ",memory,"):
			v1 = fields[where]
		case fields[kind] == "cgroup2":
			v2 = fields[where]
		}
	}
	return v1, v2, nil
}

var cages atomic.Int64

// NewCage makes a cage of the given size, which needs root. The caller ends it with Close after the process in it.
func NewCage(limit int64) (*Cage, error) {
	v1, v2, err := memoryRoots()
	if err != nil {
		return nil, err
	}
	c := &Cage{Limit: limit}
	name := fmt.Sprintf("aftermesh-cage-%d-%d", os.Getpid(), cages.Add(1))
	settings := map[string]string{"memory.limit_in_bytes": strconv.FormatInt(limit, 10)}
	switch {
	case v1 != "":
		c.folder = filepath.Join(v1, name)
	case v2 != "":
		c.folder, c.v2 = filepath.Join(v2, name), true
		settings = map[string]string{"memory.max": strconv.FormatInt(limit, 10)}
		if err := os.WriteFile(filepath.Join(v2, "cgroup.subtree_control"), []byte("+memory"), 0o600); err != nil {
			return nil, fmt.Errorf("let cgroups bound memory: %w", err)
		}
	default:
		return nil, errors.New("no cgroup hierarchy with a memory controller is mounted")
	}
	if err := os.Mkdir(c.folder, 0o755); err != nil {
		return nil, fmt.Errorf("make a memory cage (which needs root): %w", err)
	}
	for file, value := range settings {
		if err := os.WriteFile(filepath.Join(c.folder, file), []byte(value), 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("set %s: %w", file, err), c.Close())
		}
	}
	// Without swap there is no such file, and nothing to bound.
	for _, file := range []string{"memory.memsw.limit_in_bytes", "memory.swap.max"} {
		if _, err := os.Stat(filepath.Join(c.folder, file)); err == nil {
			value := map[bool]string{true: "0", false: strconv.FormatInt(limit, 10)}[c.v2]
			if err := os.WriteFile(filepath.Join(c.folder, file), []byte(value), 0o600); err != nil {
				return nil, errors.Join(fmt.Errorf("set %s: %w", file, err), c.Close())
			}
		}
	}
	return c, nil
}

// Command returns a command that runs in the cage.
func (c *Cage) Command(program string, args ...string) *exec.Cmd {
	if c == nil {
		return exec.Command(program, args...)
	}
	script := []string{"-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(c.folder, "cgroup.procs"), program}
	return exec.Command("sh", append(script, args...)...)
}

// Killed counts the processes that the kernel has killed for taking more than the limit.
func (c *Cage) Killed() (int, error) {
	file := map[bool]string{true: "memory.events", false: "memory.oom_control"}[c.v2]
	b, err := os.ReadFile(filepath.Join(c.folder, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, fmt.Errorf("%s does not count kills", file)
}

// Close removes the cage, in which nothing may run any more.
func (c *Cage) Close() error {
	if c == nil {
		return nil
	}
	return os.Remove(c.folder)
}
