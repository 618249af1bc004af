package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Case is one expect.yaml. Parts that only describe are kept as they are.
type Case struct {
	Format      int
	Case        string
	Title       string
	Summary     string
	Provenance  string
	Source      yamlv3.Node
	Files       []string
	Kinds       map[string]int
	Features    []string
	Resources   []Resource
	Controller  map[string]any
	Environment Environment
	Workloads   []Workload
	AWSOnly     yamlv3.Node `yaml:"awsOnly"`
	Skip        []Skip
	Steps       []Step
	Defects     []string `yaml:"knownDefects"`

	dir string
}

// Resource is an object that must exist, with its name in the mesh and one condition.
type Resource struct {
	Kind, Namespace, Name  string
	AWSName                string `yaml:"awsName"`
	Condition, Status, Why string
	Note                   string
}

// Environment is what must be there first.
type Environment struct {
	ServiceAccounts []struct{ Namespace, Name string } `yaml:"serviceAccounts"`
	Certificates    Certificates
	Secrets         []SecretSource
	ARNs            []ARN   `yaml:"arns"`
	SDS             *SDS    `yaml:"sds"`
	DNSAliases      []Alias `yaml:"dnsAliases"`
	IPFamily        string  `yaml:"ipFamily"`
	ApplyNamespace  string  `yaml:"applyNamespace"`
	FieldValidation string  `yaml:"fieldValidation"`
}

// Alias is a name that the cluster's DNS answers with the addresses of another one.
type Alias struct{ Name, To string }

// Certificates are created for each run: authorities, and leaves signed by them.
type Certificates struct {
	Authorities []string
	Leaves      []struct {
		Name     string
		SignedBy string `yaml:"signedBy"`
		SAN      []string
	}
}

// SecretSource is a Secret made of certificates. Data says per file what is in it: ca:x, ca:x+y, chain:x or key:x.
type SecretSource struct {
	Namespace, Name string
	Data            map[string]string
}

// ARN says what stands for a resource of AWS.
type ARN struct {
	ARN string `yaml:"arn"`
	Is  string
}

// SDS is the provider of secrets on the node and the identities it knows.
type SDS struct {
	Socket      string
	TrustDomain string `yaml:"trustDomain"`
	Identities  []Registration
}

// Registration is an identity that the provider of secrets knows: from the start, or later by a step.
type Registration struct {
	Workload string
	SPIFFEID string `yaml:"spiffeId"`
	Later    bool
}

// Workload is what the containers of one Deployment do.
type Workload struct {
	Deployment, Namespace, Role, Kind string
	Listens                           []struct {
		Port     int
		Protocol string
		TLS      yamlv3.Node `yaml:"tls"`
	}
	Answers  string
	Forwards []struct {
		When, To, Protocol string
		Headers            []string
		Note               string
	}
	Rules []struct{ When, Answers, Note string }
	Envoy string
	Note  string
	// ServiceAccount and the like describe the manifests.
	Pods yamlv3.Node
}

// Skip names an object that is not applied.
type Skip struct{ Kind, Namespace, Name, Reason string }

// Step changes something and then checks.
type Step struct {
	Name, Note     string
	Delete         []Ref
	RegisterSvids  []Registration `yaml:"registerSvids"`
	Apply          []string
	LabelNamespace *struct {
		Namespace string
		Labels    map[string]string
	} `yaml:"labelNamespace"`
	Patch []struct {
		Kind, Namespace, Name, Type string
		Patch                       any
	}
	Scale []struct {
		Kind, Namespace, Name string
		Replicas              int64
	}
	Restart       []string
	SettleSeconds float64 `yaml:"settleSeconds"`
	Checks        []Check
}

// Ref names an object.
type Ref struct{ Kind, Namespace, Name string }

// Check is one expectation; which fields mean something depends on the kind.
type Check struct {
	Kind, Basis, Note, From string
	Workload, Object, File  string
	Container, Stat, Path   string
	Cluster, Metric         string
	Request                 yamlv3.Node
	Expect                  yamlv3.Node
	As                      yamlv3.Node
	FieldValidation         string `yaml:"fieldValidation"`
}

// kinds are those of the format.
var kinds = []string{
	"request", "grpc", "tcp", "load", "injection", "admission", "condition", "field", "gone", "backends", "stat", "health", "metric", "certs", "log",
}

// Load reads the case in a folder. Keys that the format does not have are errors.
func Load(dir string) (*Case, error) {
	b, err := os.ReadFile(filepath.Join(dir, "expect.yaml"))
	if err != nil {
		return nil, err
	}
	c := &Case{dir: dir}
	if err := strict(b, c); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if c.Format != 1 || c.Case != filepath.Base(dir) {
		return nil, fmt.Errorf("%s: format %d of case %q, expected format 1 of case %q", dir, c.Format, c.Case, filepath.Base(dir))
	}
	for _, w := range c.Workloads {
		if _, err := w.rules(); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	for _, s := range c.Steps {
		for _, check := range s.Checks {
			if !slices.Contains(kinds, check.Kind) {
				return nil, fmt.Errorf("%s: step %s: unknown kind of check %q", dir, s.Name, check.Kind)
			}
		}
	}
	return c, nil
}

// strict decodes YAML and refuses unknown keys.
func strict(b []byte, into any) error {
	d := yamlv3.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// decodeNode decodes a part strictly; an absent one leaves into as it is.
func decodeNode(n *yamlv3.Node, into any) error {
	if n.IsZero() {
		return nil
	}
	b, err := yamlv3.Marshal(n)
	if err != nil {
		return err
	}
	return strict(b, into)
}

// Family is the IP family of the cluster that the case runs in: "ipv4" or "ipv6".
func (c *Case) Family() string {
	if c.Environment.IPFamily == "" {
		return "ipv4"
	}
	return strings.ToLower(c.Environment.IPFamily)
}

// path returns where a file of the case is.
func (c *Case) path(file string) string { return filepath.Join(c.dir, file) }

// OwnEnvoys are the images that gateways of the case bring and keep. They exist nowhere; a stock Envoy replaces them.
func (c *Case) OwnEnvoys() ([]string, error) {
	var out []string
	for _, f := range c.Files {
		list, err := documents(c.path(f))
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			annotations, _, _ := unstructured.NestedStringMap(u.Object, "spec", "template", "metadata", "annotations")
			if annotations["appmesh.k8s.aws/virtualGatewaySkipImageOverride"] == "" {
				continue
			}
			containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
			for _, raw := range containers {
				if container, ok := raw.(map[string]any); ok && container["name"] == "envoy" {
					out = append(out, fmt.Sprint(container["image"]))
				}
			}
		}
	}
	return out, nil
}
