package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"sigs.k8s.io/yaml"

	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/source"
	"github.com/aftermesh/aftermesh/test/echo/order"
)

// checkBackends compares the virtual services that the proxies of a node know with an exact list. The names are read from the
// configuration that a proxy runs, by the application beside it: a proxy shows it to its own pod only.
func (t *run) checkBackends(ctx context.Context, c Check) error {
	var want []string
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	slices.Sort(want)
	pods, err := t.podsOf(ctx, c.Object)
	if err == nil && pods == nil {
		have, err := t.compiledBackends(ctx, c.Object)
		if err == nil && !slices.Equal(have, want) {
			err = fmt.Errorf("proxies of %s could call %v, expected %v", c.Object, have, want)
		}
		return err
	}
	if err != nil {
		return err
	}
	for _, p := range pods {
		var got order.HTTPResult
		if err := t.control(ctx, p.Status.PodIP, "/request", order.HTTP{Method: "GET", URL: "http://127.0.0.1:9901/config_dump", Count: 1}, &got); err != nil {
			return err
		}
		if len(got.Groups) != 1 || got.Groups[0].Status != 200 {
			return fmt.Errorf("pod %s: the proxy does not tell its configuration: %.200v", p.Name, got.Groups)
		}
		have, err := services([]byte(got.Groups[0].Body))
		if err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
		if !slices.Equal(have, want) {
			return fmt.Errorf("pod %s may call %v, expected %v", p.Name, have, want)
		}
	}
	return nil
}

// compiledBackends returns the services of a node that no proxy runs as: the objects of the cluster are compiled here, by the operator's
// own code.
func (t *run) compiledBackends(ctx context.Context, object string) ([]string, error) {
	var all bytes.Buffer
	for _, kind := range []string{"Namespace", "Mesh", "VirtualNode", "VirtualService", "VirtualRouter", "Route", "BackendGroup"} {
		r, err := t.kube.byKind(kind, "")
		if err != nil {
			return nil, err
		}
		list, err := r.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			b, err := yaml.Marshal(list.Items[i].Object)
			if err != nil {
				return nil, err
			}
			all.WriteString("---\n")
			all.Write(b)
		}
	}
	files, err := source.ReadFiles([]string{"-"}, "default", &all)
	if err != nil {
		return nil, err
	}
	files.Objects.Settings.Offline = true
	_, files.Objects.Settings.BackendGroups = t.c.Controller["enableBackendGroups"]
	result := new(compile.Compiler).Compile(&files.Objects)
	for _, w := range result.Model.Workloads {
		if w.Object.Kind+"/"+w.Object.Namespace+"/"+w.Object.Name != object {
			continue
		}
		var out []string
		for _, b := range w.Backends {
			out = append(out, b.Service.Name)
		}
		slices.Sort(out)
		return out, nil
	}
	return nil, fmt.Errorf("%s is not served", object)
}

// podsOf returns the running pods that a VirtualNode selects; nil if it has no selector.
func (t *run) podsOf(ctx context.Context, object string) ([]corev1.Pod, error) {
	u, err := t.get(ctx, object)
	if err != nil {
		return nil, err
	}
	raw, found, err := unstructured.NestedMap(u.Object, "spec", "podSelector")
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, nil
	}
	b, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	var sel metav1.LabelSelector
	if err := json.Unmarshal(b, &sel); err != nil {
		return nil, err
	}
	s, err := metav1.LabelSelectorAsSelector(&sel)
	if err != nil {
		return nil, err
	}
	return t.selected(ctx, u.GetNamespace(), s)
}

func (t *run) selected(ctx context.Context, ns string, s labels.Selector) ([]corev1.Pod, error) {
	list, err := t.kube.typed.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: s.String()})
	if err != nil {
		return nil, err
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning || p.Status.PodIP == ""
	})
	if len(pods) == 0 {
		return nil, errors.New("the node has no running pod")
	}
	return pods, nil
}

// services returns the names of the virtual services in a dump of a proxy's configuration, sorted: those of the virtual hosts
// of its outbound routes. Hosts without a name of their own (inbound, pass-through) match every domain.
func services(dump []byte) ([]string, error) {
	var d struct {
		Configs []struct {
			Dynamic []struct {
				Config struct {
					Hosts []struct {
						Name    string
						Domains []string
					} `json:"virtual_hosts"`
				} `json:"route_config"`
			} `json:"dynamic_route_configs"`
		}
	}
	if err := json.Unmarshal(dump, &d); err != nil {
		return nil, fmt.Errorf("configuration dump: %w", err)
	}
	var out []string
	for _, c := range d.Configs {
		for _, r := range c.Dynamic {
			for _, h := range r.Config.Hosts {
				if !slices.Contains(h.Domains, "*") && !slices.Contains(out, h.Name) {
					out = append(out, strings.TrimSuffix(h.Name, "."))
				}
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
