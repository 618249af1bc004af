package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a recorded child. Pid, start time and boot together name it permanently:
// a pid that the kernel gave to somebody else is never mistaken for it.
type process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start string `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
	Boot  string `json:"boot"`

	exited chan struct{} // closed when a child of this very program has ended; nil if read from a record
}

// spawn says how to start a process.
type spawn struct {
	name    string
	argv    []string
	env     []string // added to the environment
	logFile string
	records string // folder of pid records
	bound   bool   // die with the parent, for servers that live as long as a test
}

// start runs the program detached in a session of its own and records it.
func (s spawn) start() (*process, error) {
	for _, dir := range []string{filepath.Dir(s.logFile), s.records} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.bound {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	p := &process{Name: s.name, PID: cmd.Process.Pid, Boot: bootID(), exited: make(chan struct{})}
	p.Start, _ = startTime(p.PID)
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	record, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return p, os.WriteFile(filepath.Join(s.records, s.name), record, 0o644)
}

// recorded returns the processes recorded in a folder, dead or alive, sorted by name.
func recorded(dir string) []*process {
	entries, _ := os.ReadDir(dir)
	var list []*process
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		p := &process{}
		if err == nil && json.Unmarshal(data, p) == nil {
			list = append(list, p)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// alive says whether the very process that was recorded still runs.
func (p *process) alive() bool {
	if p.Boot != bootID() {
		return false
	}
	start, state := startTime(p.PID)
	return start != "" && start == p.Start && state != "Z" && state != "X"
}

// stop ends the process: SIGTERM first if it has some time, then SIGKILL. It returns when the process is gone.
func (p *process) stop(grace time.Duration) error {
	if !p.alive() {
		return nil
	}
	if grace > 0 {
		_ = syscall.Kill(p.PID, syscall.SIGTERM)
		if poll(context.Background(), grace, p.gone) == nil {
			return nil
		}
	}
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	if err := poll(context.Background(), 10*time.Second, p.gone); err != nil {
		return fmt.Errorf("%s (pid %d) survives SIGKILL", p.Name, p.PID)
	}
	return nil
}

func (p *process) gone() error {
	if p.alive() {
		return errors.New("still running")
	}
	return nil
}

// startTime returns a process's start time in ticks since boot and its state letter, "" if there is none.
func startTime(pid int) (start, state string) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", ""
	}
	// The command name may hold spaces and parentheses; what follows its last ")" does not.
	fields := strings.Fields(string(data)[strings.LastIndex(string(data), ")")+1:])
	if len(fields) < 20 {
		return "", ""
	}
	return fields[19], fields[0]
}

func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

// poll calls check every 50 ms until it returns nil, and gives its last error when the time is over.
func poll(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// await polls until check succeeds; it gives up early, with the log's end, when a process it depends on has ended.
func await(ctx context.Context, limit time.Duration, what string, logs string, procs []*process, check func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var dead *process
	err := poll(ctx, limit, func() error {
		for _, p := range procs {
			if !p.alive() {
				dead = p
				cancel()
				return errors.New("ended")
			}
		}
		return check()
	})
	switch {
	case err == nil:
		return nil
	case dead != nil:
		file := filepath.Join(logs, dead.Name+".log")
		return fmt.Errorf("%s ended while starting; last lines of %s:\n%s", dead.Name, file, tail(file, 15))
	default:
		return fmt.Errorf("%s not ready after %s (logs in %s): %w", what, limit, logs, err)
	}
}

// tail returns the last lines of a file.
func tail(file string, lines int) string {
	data, _ := os.ReadFile(file)
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
