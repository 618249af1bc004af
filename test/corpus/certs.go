package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// held are the certificates that a proxy holds. Source: Envoy admin interface, /certs.
type held struct {
	Certificates []struct {
		CA    []json.RawMessage `json:"ca_cert"`
		Chain []struct {
			Names []struct {
				URI string
			} `json:"subject_alt_names"`
		} `json:"cert_chain"`
	}
}

// certificates is what a check of kind certs expects of each proxy of a workload: the SPIFFE ids of its own certificates, all of them,
// and whether it trusts an authority.
type certificates struct {
	SPIFFEIDs []string `yaml:"spiffeIds"`
	Authority *bool
}

func (t *run) checkCerts(ctx context.Context, c Check) error {
	var want certificates
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	ns, name, _ := strings.Cut(c.Workload, "/")
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		b, err := t.kube.inside(ctx, p, 9901, "/certs")
		if err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
		var have held
		if err := json.Unmarshal(b, &have); err != nil {
			return fmt.Errorf("pod %s: certificates of the proxy: %w", p.Name, err)
		}
		if err := want.judge(have); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	return nil
}

func (want certificates) judge(have held) error {
	ids, trusts := []string{}, false
	for _, c := range have.Certificates {
		trusts = trusts || len(c.CA) > 0
		for _, own := range c.Chain {
			for _, n := range own.Names {
				if strings.HasPrefix(n.URI, "spiffe://") {
					ids = append(ids, n.URI)
				}
			}
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if expected := slices.Sorted(slices.Values(want.SPIFFEIDs)); want.SPIFFEIDs != nil && !slices.Equal(ids, expected) {
		return fmt.Errorf("the proxy's own certificates are for %v, expected %v", ids, expected)
	}
	if want.Authority != nil && trusts != *want.Authority {
		return fmt.Errorf("the proxy trusts an authority: %v, expected %v", trusts, *want.Authority)
	}
	return nil
}

// inside requests a path from a port on the loopback of a pod, through a forwarded port.
func (k *kube) inside(ctx context.Context, p corev1.Pod, port int, path string) ([]byte, error) {
	transport, upgrader, err := spdy.RoundTripperFor(k.config)
	if err != nil {
		return nil, err
	}
	url := k.typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("portforward").URL()
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	fw, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url),
		[]string{fmt.Sprintf("0:%d", port)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() { failed <- fw.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-failed:
		return nil, err
	case <-time.After(10 * time.Second):
		return nil, errors.New("forwarding a port took more than 10 s")
	}
	ports, err := fw.GetPorts()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local)))+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return b, err
}
