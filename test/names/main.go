// Command names proves in the one-node cluster that manifests which use names of Cloud Map run as they are: it applies them, reads from
// the conditions and from `aftermesh check` what the cluster's DNS lacks, adds that, and calls services by their names. Two of them are TCP
// services on one port. In the end a name is added that was requested before without effect, and the time is taken until it works.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/echo/order"
	"github.com/aftermesh/aftermesh/test/install"
)

const (
	namespace = "names"
	zone      = "names.pvt.aws.local"
	// patience bounds every wait; newName is how soon a new name must work.
	patience = 60 * time.Second
	newName  = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	p := &proof{began: time.Now()}
	err := p.run(ctx)
	if p.cluster.Program != "" {
		// Also when it was interrupted.
		err = errors.Join(err, p.cleanUp(context.WithoutCancel(ctx)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
		os.Exit(1)
	}
}

// proof is one run.
type proof struct {
	began    time.Time
	layout   cluster.Layout
	cluster  install.Kubectl
	front    string // address of its orders
	corefile string // as it was
}

func (p *proof) say(format string, args ...any) {
	fmt.Printf("[%4.0fs] "+format+"\n", append([]any{time.Since(p.began).Seconds()}, args...)...)
}

func (p *proof) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{p.prepare, p.reported, p.forward, p.calls, p.late, p.settled} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare installs Aftermesh and applies the manifests, without the late one.
func (p *proof) prepare(ctx context.Context) error {
	l, err := cluster.Find()
	if err != nil {
		return err
	}
	p.layout = l
	if err := l.Up(ctx, cluster.NewProgress(os.Stdout), cluster.UpOptions{}); err != nil {
		return err
	}
	restart, err := install.Image(ctx, l, "aftermesh", ".")
	if err != nil {
		return err
	}
	if _, err := install.Image(ctx, l, "echo", "./test/echo"); err != nil {
		return err
	}
	if err := install.Operator(ctx, install.Of(l), install.Root(l), "", restart); err != nil {
		return err
	}
	p.cluster = install.Of(l)
	for _, f := range []string{"mesh.yaml", "pods.yaml"} {
		if err := p.apply(ctx, f); err != nil {
			return err
		}
	}
	for _, name := range []string{"front", "color", "red", "blue"} {
		if _, err := p.kubectl(ctx, "-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=90s"); err != nil {
			return err
		}
	}
	ip, err := p.kubectl(ctx, "-n", namespace, "get", "pods", "-l", "app=front", "-o", "jsonpath={.items[0].status.podIP}")
	p.front = "http://" + strings.TrimSpace(ip) + ":19999"
	p.say("manifests with names of Cloud Map are applied")
	return err
}

// reported reads the condition, and the stanza that the verb check prints.
func (p *proof) reported(ctx context.Context) error {
	if err := p.until(ctx, patience, "the condition of VirtualService colorapp names no zone", func() (bool, error) {
		reason, err := p.reason(ctx)
		return reason == "NameNotResolvable", err
	}); err != nil {
		return err
	}
	out, err := p.check(ctx)
	if err == nil || !strings.Contains(out, zone+":53 {") {
		return fmt.Errorf("check ends with %w and prints no stanza for %s:\n%s", err, zone, out)
	}
	p.say("condition and check say that the zone %s is missing", zone)
	return nil
}

// forward puts the stanza that check prints into CoreDNS's configuration.
func (p *proof) forward(ctx context.Context) error {
	out, _ := p.check(ctx) // its code was looked at
	begin := strings.Index(out, zone+":53 {")
	end := strings.Index(out[max(begin, 0):], "\n}\n")
	if begin < 0 || end < 0 {
		return fmt.Errorf("check prints no stanza:\n%s", out)
	}
	stanza := out[begin : begin+end+3]
	corefile, err := p.kubectl(ctx, "-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}")
	if err != nil {
		return err
	}
	p.corefile = corefile
	if err := p.setCorefile(ctx, corefile+"\n"+stanza); err != nil {
		return err
	}
	p.say("CoreDNS has the stanza\n%s", stanza)
	return nil
}

// setCorefile restarts CoreDNS too: the cluster's has no plugin that would read the file again. It returns when the pods with the old file
// have gone: they answer for a second or two after the rollout is complete.
func (p *proof) setCorefile(ctx context.Context, text string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"Corefile": text}})
	if err != nil {
		return err
	}
	old, err := p.kubectl(ctx, "-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "name")
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"patch", "configmap", "coredns", "--type=merge", "-p", string(patch)},
		{"rollout", "restart", "deployment/coredns"},
		{"rollout", "status", "deployment/coredns", "--timeout=60s"},
		append([]string{"wait", "--for=delete", "--timeout=60s"}, strings.Fields(old)...),
	} {
		if _, err := p.kubectl(ctx, append([]string{"-n", "kube-system"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// calls asks each service by its name.
func (p *proof) calls(ctx context.Context) error {
	if err := p.until(ctx, patience, "colorapp does not answer by its name", func() (bool, error) {
		chain, err := p.get(ctx, "colorapp")
		return chain == "color", err
	}); err != nil {
		return err
	}
	for range 20 {
		for _, name := range []string{"red", "blue"} {
			var got order.TCPResult
			if err := p.order(ctx, "/tcp", order.TCP{Target: name + "." + zone + ":7000"}, &got); err != nil {
				return err
			}
			if got.Answer != name {
				return fmt.Errorf("%s.%s:7000 answers %+v", name, zone, got)
			}
		}
	}
	p.say("an HTTP service and two TCP services on one port answer by their names, 20 times each")
	return nil
}

// late asks for a name that does not exist yet, adds it, and takes the time.
func (p *proof) late(ctx context.Context) error {
	if chain, err := p.get(ctx, "late"); err != nil || chain != "" {
		return fmt.Errorf("a service that does not exist answers %q, %w", chain, err)
	}
	if err := p.apply(ctx, "late.yaml"); err != nil {
		return err
	}
	begin := time.Now()
	if err := p.until(ctx, patience, "a new name does not work", func() (bool, error) {
		chain, err := p.get(ctx, "late")
		return chain == "color", err
	}); err != nil {
		return err
	}
	took := time.Since(begin)
	p.say("a new name that was asked for before works after %.1f s", took.Seconds())
	if took > newName {
		return fmt.Errorf("a new name took %v, more than %v", took, newName)
	}
	return nil
}

// settled waits until the condition has gone.
func (p *proof) settled(ctx context.Context) error {
	return p.until(ctx, patience, "the condition of VirtualService colorapp stays", func() (bool, error) {
		reason, err := p.reason(ctx)
		return reason == "Accepted", err
	})
}

func (p *proof) cleanUp(ctx context.Context) error {
	var errs []error
	if p.corefile != "" {
		errs = append(errs, p.setCorefile(ctx, p.corefile))
	}
	for _, f := range []string{"pods.yaml", "late.yaml", "mesh.yaml"} {
		_, err := p.kubectl(ctx, "delete", "--ignore-not-found", "--timeout=60s", "-f", p.manifest(f))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (p *proof) manifest(name string) string {
	return filepath.Join(install.Root(p.layout), "test/names/manifests", name)
}

func (p *proof) apply(ctx context.Context, name string) error {
	_, err := p.kubectl(ctx, "apply", "-f", p.manifest(name))
	return err
}

func (p *proof) kubectl(ctx context.Context, args ...string) (string, error) {
	return p.cluster.Run(ctx, args...)
}

func (p *proof) reason(ctx context.Context) (string, error) {
	return p.kubectl(ctx, "-n", namespace, "get", "virtualservice.appmesh.k8s.aws", "colorapp", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].reason}`)
}

// check runs the verb as a user does.
func (p *proof) check(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, p.layout.Bin("aftermesh"), "check", "--kubeconfig", p.cluster.Kubeconfig)
	out, err := cmd.Output()
	return string(out), err
}

// get returns the applications that a request by name met, none if it failed.
func (p *proof) get(ctx context.Context, name string) (string, error) {
	var got order.HTTPResult
	if err := p.order(ctx, "/request", order.HTTP{URL: "http://" + name + "." + zone + ":8080/", Count: 1}, &got); err != nil {
		return "", err
	}
	if len(got.Groups) != 1 || got.Groups[0].Status != http.StatusOK {
		return "", nil
	}
	return got.Groups[0].Chain, nil
}

// order tells the front pod what to do.
func (p *proof) order(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.front+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

// until looks again and again until ok.
func (p *proof) until(ctx context.Context, limit time.Duration, what string, ok func() (bool, error)) error {
	const pause = 200 * time.Millisecond
	for end := time.Now().Add(limit); ; {
		done, err := ok()
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s after %v", what, limit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
