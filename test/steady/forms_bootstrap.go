package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// adminPort is where everybody may look at the statistics of a proxy.
const adminPort = 9901

// place returns an error unless the proxy of a pod knows its region and zone; both must be known to the test too.
func (s *stage) place(ctx context.Context, p *corev1.Pod, region, zone string) error {
	status, body, err := s.inside(ctx, p, adminPort, "/server_info")
	if err != nil {
		return err
	}
	var info struct {
		Node struct {
			Locality struct{ Region, Zone string }
		}
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		return fmt.Errorf("status %d: %w", status, err)
	}
	if got := info.Node.Locality; got.Region != region || got.Zone != zone || zone == "" {
		return fmt.Errorf("the proxy says region %q and zone %q, the pod is in %q and %q", got.Region, got.Zone, region, zone)
	}
	return nil
}

// inside asks a port of a pod as if from inside it, which kubectl port-forward does.
func (s *stage) inside(ctx context.Context, p *corev1.Pod, port int, path string) (status int, body string, err error) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.kubectl.Program, "--kubeconfig", s.kubectl.Kubeconfig, "-n", p.Namespace, "port-forward", "pod/"+p.Name, fmt.Sprintf(":%d", port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, "", err
	}
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	// "Forwarding from 127.0.0.1:40123 -> 9901"
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, "", fmt.Errorf("port-forward says nothing: %w", err)
	}
	address := strings.Fields(strings.TrimPrefix(line, "Forwarding from "))[0]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// gatewayForm starts stock Envoy by the pod's own command, with the bootstrap as a file.
func (s *stage) gatewayForm(ctx context.Context, f *findings) error {
	p, err := s.ready(ctx, "own-command")
	if err != nil {
		return err
	}
	status, body, err := fetch(ctx, p, 8088, "/")
	f.check("a request to the gateway", errors.Join(err, ifNot(status == http.StatusOK && body == "web", fmt.Sprintf("status %d: %s", status, body))))
	f.check("its place, by --service-zone", s.place(ctx, p, "", p.Labels[corev1.LabelTopologyZone]))
	f.check("it runs on", restarts(p))
	return nil
}

// filesForm has a file with tags of statistics, and one that nobody can read.
func (s *stage) filesForm(ctx context.Context, f *findings) error {
	p, err := s.ready(ctx, "files")
	if err != nil {
		return err
	}
	f.check("a request", meshed(ctx, p, order.HTTP{URL: formsWeb}))
	_, stats, err := fetch(ctx, p, adminPort, "/stats/prometheus")
	f.check("the file's tag is on the statistics", errors.Join(err, ifNot(strings.Contains(stats, `color="blue"`), "it is not")))
	region, zone := p.Labels[corev1.LabelTopologyRegion], p.Labels[corev1.LabelTopologyZone]
	f.check("its place, in the merged bootstrap", s.place(ctx, p, region, zone))
	const words = "/etc/extra/broken.yaml of the variable ENVOY_STATS_CONFIG_FILE"
	f.check("the status names the broken file", eventually(ctx, starting, func() error {
		if p, err = s.pod(ctx, "broken-file"); err != nil {
			return err
		}
		c := container(p, "envoy-bootstrap")
		for _, t := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
			if t != nil && t.ExitCode != 0 && strings.Contains(t.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("%+v, before %+v", c.State, c.LastTerminationState)
	}))
	f.check("its application does not start", ifNot(container(p, "app").State.Running == nil && container(p, "app").RestartCount == 0, "it runs"))
	return nil
}
