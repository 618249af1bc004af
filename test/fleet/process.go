package fleet

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster"
)

// Operator is one replica of the control plane, as a process on a loopback address of its own.
type Operator struct {
	// IP stands for the pod's.
	IP                                                        string
	binary, kubeconfig, logFile                               string
	xdsPort, peerPort, adminPort, webhook, health, stats, dns int
	leader                                                    bool
	confinement                                               Confinement
	cmd                                                       *exec.Cmd
	// exited is closed when the process has ended.
	exited chan struct{}
}

// Confinement is what the manifests of the installation do to the operator beyond starting it. The zero value confines nothing.
type Confinement struct {
	// Kubeconfig is used instead of the administrator's.
	Kubeconfig string
	// Cage bounds the memory of the process.
	Cage *Cage
	// Env is added to the environment.
	Env []string
}

// Confine makes the next Start start a confined process.
func (o *Operator) Confine(c Confinement) { o.confinement = c }

// NewOperator returns a replica that is not started yet. Several elect a leader; a single one leads.
func (f *Fleet) NewOperator(ip string, elect bool) (*Operator, error) {
	o := &Operator{IP: ip, binary: f.binary, kubeconfig: f.api.Kubeconfig, logFile: filepath.Join(f.dir, ip+".log"), leader: elect}
	for _, p := range []*int{&o.xdsPort, &o.peerPort, &o.adminPort, &o.webhook, &o.health, &o.stats, &o.dns} {
		var err error
		if *p, err = cluster.FreePort(); err != nil {
			return nil, err
		}
	}
	if len(f.operators) > 0 {
		o.peerPort = f.operators[0].peerPort // replicas find each other by address
	}
	f.operators = append(f.operators, o)
	return o, nil
}

// build compiles the binary of the working copy.
func build(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "aftermesh")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the operator: %w\n%s", err, out)
	}
	return binary, nil
}

// Start starts the process and waits until it accepts streams, which it does after its first pass.
func (o *Operator) Start(ctx context.Context) error {
	log, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	port := func(name string, n int) string { return fmt.Sprintf("--%s=%d", name, n) }
	cmd := o.confinement.Cage.Command(o.binary, "operator", "--shutdown-delay-duration=0s", "--init-image=aftermesh/aftermesh:bench", fmt.Sprintf("--metrics-addr=127.0.0.1:%d", o.stats),
		fmt.Sprintf("--enable-leader-election=%t", o.leader), port("webhook-port", o.webhook), port("dns-port", o.dns),
		port("xds-port", o.xdsPort), port("peer-port", o.peerPort), port("admin-port", o.adminPort), port("health-probe-port", o.health))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cmp.Or(o.confinement.Kubeconfig, o.kubeconfig), "POD_NAMESPACE="+SystemNamespace, "POD_NAME="+o.IP, "POD_IP="+o.IP, "POD_IPS="+o.IP)
	cmd.Env = append(cmd.Env, o.confinement.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the operator: %w", err)
	}
	o.cmd, o.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(o.exited)
	const patience = time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", o.Address())
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("the operator does not serve: %w; its log: %s", err, o.tail())
		}
	}
}

// Address is where it serves xDS.
func (o *Operator) Address() string { return fmt.Sprintf("%s:%d", o.IP, o.xdsPort) }

// WebhookAddress is where it answers the API server.
func (o *Operator) WebhookAddress() string { return fmt.Sprintf("%s:%d", o.IP, o.webhook) }

// MetricsAddress is where it serves metrics.
func (o *Operator) MetricsAddress() string { return fmt.Sprintf("127.0.0.1:%d", o.stats) }

// HealthAddress is where it answers probes.
func (o *Operator) HealthAddress() string { return fmt.Sprintf("127.0.0.1:%d", o.health) }

// DNSAddress is where it answers DNS.
func (o *Operator) DNSAddress() string { return fmt.Sprintf("%s:%d", o.IP, o.dns) }

// PeerAddress is where the other replicas reach it.
func (o *Operator) PeerAddress() string { return fmt.Sprintf("%s:%d", o.IP, o.peerPort) }

// Exited is closed when the process has ended, whoever ended it.
func (o *Operator) Exited() <-chan struct{} { return o.exited }

// Log is everything that the process has said.
func (o *Operator) Log() (string, error) {
	b, err := os.ReadFile(o.logFile)
	return string(b), err
}

// Kill ends the process as the kernel does when memory is short.
func (o *Operator) Kill() {
	if o.cmd != nil {
		_ = o.cmd.Process.Kill()
		<-o.exited
		o.cmd = nil
	}
}

// Freeze stops the process from doing anything, without anybody being told: its connections stay and nothing comes from them.
func (o *Operator) Freeze() error { return o.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (o *Operator) Thaw() error { return o.cmd.Process.Signal(syscall.SIGCONT) }

// tail is the end of the log.
func (o *Operator) tail() string {
	b, err := os.ReadFile(o.logFile)
	if err != nil {
		return err.Error()
	}
	const enough = 2000
	return string(b[max(0, len(b)-enough):])
}

// Memory returns the resident set and its anonymous part, in bytes.
func (o *Operator) Memory() (rss, anon int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", o.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			rss = n << 10
		case "RssAnon":
			anon = n << 10
		}
	}
	return rss, anon, nil
}

// Gauge reads one value of the operator's metrics.
func (o *Operator) Gauge(name string) (float64, error) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", o.stats))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// CPU returns the processor time used so far.
func (o *Operator) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", o.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, may hold blanks; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	var total int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return time.Duration(total) * tick, nil
}
