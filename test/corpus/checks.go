package corpus

import (
	"bytes"
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

	yamlv3 "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/aftermesh/aftermesh/test/echo/order"
)

// check makes one check; nil means that it holds now.
func (t *run) check(ctx context.Context, s Step, c Check) error {
	switch c.Kind {
	case "request":
		return t.checkRequest(ctx, c)
	case "grpc":
		return t.checkGRPC(ctx, c)
	case "tcp":
		return t.checkTCP(ctx, c)
	case "injection":
		return t.checkInjection(ctx, c)
	case "condition":
		return t.checkCondition(ctx, c)
	case "field":
		return t.checkField(ctx, c)
	case "gone":
		return t.checkGone(ctx, c)
	case "log":
		return t.checkLog(ctx, c)
	case "stat":
		return t.checkStat(ctx, c)
	case "admission":
		return t.checkAdmission(ctx, c)
	case "backends":
		return t.checkBackends(ctx, c)
	case "load":
		return t.checkLoad(ctx, s, c)
	case "health":
		return t.checkHealth(ctx, c)
	case "metric":
		return t.checkMetric(ctx, c)
	case "certs":
		return t.checkCerts(ctx, c)
	default:
		return fmt.Errorf("unknown kind of check %q", c.Kind)
	}
}

// describe names a check in a line.
func describe(c Check) string {
	what := c.Kind
	for _, s := range []string{c.Workload, c.Object, c.Path, c.From} {
		if s != "" {
			what += " " + s
		}
	}
	var r struct {
		URL    string `yaml:"url"`
		Target string `yaml:"target"`
		Count  int    `yaml:"count"`
	}
	var e struct {
		Distribution map[string]float64
		Tolerance    *float64
	}
	if c.Request.IsZero() || c.Request.Decode(&r) != nil {
		return what
	}
	what += " " + r.URL + r.Target
	if c.Expect.Decode(&e) == nil && e.Distribution != nil {
		if n := enough(r.Count, e.Distribution, value(e.Tolerance)); n > r.Count {
			what += fmt.Sprintf(" (%d requests instead of %d, so that chance is out)", n, r.Count)
		}
	}
	return what
}

// value is a tolerance, or the default one.
func value(tolerance *float64) float64 {
	if tolerance == nil {
		return defaultTolerance
	}
	return *tolerance
}

// negative is true for checks that something does not work or is not there, which may also hold for a moment only.
func negative(c Check) bool {
	var e struct {
		Status     string      `yaml:"status"`
		GRPCStatus int         `yaml:"grpcStatus"`
		AnsweredBy yamlv3.Node `yaml:"answeredBy"`
		Fails      bool        `yaml:"fails"`
		Absent     bool        `yaml:"absent"`
		Connects   *bool       `yaml:"connects"`
	}
	if c.Kind == "load" || c.Kind == "admission" || c.Expect.Kind != yamlv3.MappingNode || c.Expect.Decode(&e) != nil {
		return false
	}
	status, err := strconv.Atoi(e.Status)
	return c.Kind == "gone" || e.Fails || e.Absent || e.GRPCStatus != 0 || e.Status == "not True" ||
		err == nil && status >= http.StatusBadRequest || e.Connects != nil && !*e.Connects || e.AnsweredBy.Value == "nobody"
}

// control asks the stand-in of a workload to do something.
func (t *run) control(ctx context.Context, ip, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+net.JoinHostPort(ip, "19999")+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the stand-in answers %s: %s", resp.Status, body)
	}
	return json.Unmarshal(body, out)
}

// source returns the address of the stand-in that a check starts from: "outside" or "app:namespace/deployment".
func (t *run) source(ctx context.Context, from string) (string, error) {
	ns, name := outsideNamespace, "client"
	if app, ok := strings.CutPrefix(from, "app:"); ok {
		ns, name, _ = strings.Cut(app, "/")
	} else if from != "outside" {
		return "", notYet(fmt.Sprintf("from %q", from))
	}
	pods, err := t.kube.pods(ctx, ns, name)
	if err != nil {
		return "", err
	}
	return pods[0].Status.PodIP, nil
}

func (t *run) checkGRPC(ctx context.Context, c Check) error {
	var in struct {
		Target, Service, Method string
		Metadata                map[string]string
	}
	var want struct {
		GRPCStatus       *int              `yaml:"grpcStatus"`
		AnsweredBy       string            `yaml:"answeredBy"`
		ResponseMetadata map[string]string `yaml:"responseMetadata"`
	}
	if err := errors.Join(decodeNode(&c.Request, &in), decodeNode(&c.Expect, &want)); err != nil {
		return err
	}
	ip, err := t.source(ctx, c.From)
	if err != nil {
		return err
	}
	var got order.GRPCResult
	if err := t.control(ctx, ip, "/grpc", order.GRPC{Target: in.Target, Service: in.Service, Method: in.Method, Metadata: in.Metadata}, &got); err != nil {
		return err
	}
	if want.GRPCStatus != nil && got.Code != *want.GRPCStatus {
		return fmt.Errorf("gRPC status %d (%s), expected %d", got.Code, got.Message, *want.GRPCStatus)
	}
	if want.AnsweredBy != "" && last(got.Chain) != want.AnsweredBy {
		return fmt.Errorf("answered by %q, expected %q", last(got.Chain), want.AnsweredBy)
	}
	for name, v := range want.ResponseMetadata {
		if m := got.Metadata[strings.ToLower(name)]; m == "" || v != "present" && m != v {
			return fmt.Errorf("response metadata %s is %q, expected %q", name, m, v)
		}
	}
	return nil
}

func (t *run) checkTCP(ctx context.Context, c Check) error {
	var in struct{ Target string }
	var want struct {
		Connects   *bool
		AnsweredBy string `yaml:"answeredBy"`
	}
	if err := errors.Join(decodeNode(&c.Request, &in), decodeNode(&c.Expect, &want)); err != nil {
		return err
	}
	ip, err := t.source(ctx, c.From)
	if err != nil {
		return err
	}
	var got order.TCPResult
	if err := t.control(ctx, ip, "/tcp", order.TCP{Target: in.Target}, &got); err != nil {
		return err
	}
	if want.Connects != nil && got.Connected != *want.Connects {
		return fmt.Errorf("connected: %v (%s), expected %v", got.Connected, got.Error, *want.Connects)
	}
	expected := strings.TrimSuffix(want.AnsweredBy, "nobody")
	if want.AnsweredBy != "" && got.Answer != expected {
		return fmt.Errorf("answered %q (%s), expected %q", got.Answer, got.Error, want.AnsweredBy)
	}
	return nil
}

// proxyOf says what kind of proxy a pod has.
func proxyOf(p corev1.Pod) string {
	named := func(c corev1.Container) bool { return c.Name == "envoy" }
	switch node := p.Annotations["aftermesh.dev/node"]; {
	case !slices.ContainsFunc(p.Spec.InitContainers, named) && !slices.ContainsFunc(p.Spec.Containers, named):
		return "none"
	case strings.Contains(node, "/virtualGateway/"):
		return "gateway"
	case node != "":
		return "sidecar"
	default:
		return "none"
	}
}

// readiness counts containers as kubectl does: native sidecars among them.
func readiness(p corev1.Pod) string {
	ready, all := 0, len(p.Spec.Containers)
	for _, s := range p.Status.ContainerStatuses {
		if s.Ready {
			ready++
		}
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		all++
		for _, s := range p.Status.InitContainerStatuses {
			if s.Name == c.Name && s.Ready {
				ready++
			}
		}
	}
	return fmt.Sprintf("%d/%d", ready, all)
}

// get reads "Kind/namespace/name" or "Kind/name".
func (t *run) get(ctx context.Context, object string) (*unstructured.Unstructured, error) {
	parts := strings.Split(object, "/")
	ns := ""
	if len(parts) == 3 {
		ns = parts[1]
	}
	r, err := t.kube.byKind(parts[0], ns)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, parts[len(parts)-1], metav1.GetOptions{})
}

func (t *run) checkCondition(ctx context.Context, c Check) error {
	var want struct {
		Type, Status    string
		MessageContains string `yaml:"messageContains"`
	}
	if err := decodeNode(&c.Expect, &want); err != nil {
		return err
	}
	u, err := t.get(ctx, c.Object)
	if err != nil {
		return err
	}
	if err := conditionIs(u, want.Type, want.Status); err != nil {
		return err
	}
	if message := condition(u, want.Type).message; !strings.Contains(message, want.MessageContains) {
		return fmt.Errorf("%s: the message of condition %s is %q, which does not contain %q", c.Object, want.Type, message, want.MessageContains)
	}
	return nil
}

// found is one condition of a status; of an absent one the status says so.
type found struct{ status, message string }

func condition(u *unstructured.Unstructured, kind string) found {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, raw := range list {
		if c, ok := raw.(map[string]any); ok && c["type"] == kind {
			return found{fmt.Sprint(c["status"]), fmt.Sprint(c["message"])}
		}
	}
	return found{status: "absent"}
}

// conditionIs compares a condition: "not True" means False, Unknown or absent; "any" only that the object is there.
func conditionIs(u *unstructured.Unstructured, kind, want string) error {
	got := condition(u, kind)
	if want == "any" || got.status == want || want == "not True" && got.status != "True" {
		return nil
	}
	return fmt.Errorf("%s %s: condition %s is %s (%s), expected %s", u.GetKind(), u.GetName(), kind, got.status, got.message, want)
}

func (t *run) checkGone(ctx context.Context, c Check) error {
	_, err := t.get(ctx, c.Object)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%s is still there", c.Object)
	}
}

func last(chain string) string { return chain[strings.LastIndex(chain, ",")+1:] }
