package injection

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Case is a pod that is sent through an API server, and what comes back. It is read only.
type Case struct {
	// Key is what the case is about, of the lists Keys, Flags and Parts; About says what its value is like.
	Key, About string
	// Flags are those of the operator, as users write them.
	Flags []string

	// namespace is namespaceEnabled if empty.
	namespace string
	// gateway makes it a pod of the VirtualGateway.
	gateway bool
	// annotations by name; one without a slash is of appmesh.k8s.aws. labels as they are written.
	annotations, labels short
	// pod changes the pod; nil for nothing.
	pod func(*corev1.Pod)
	// want are facts (see factsOf); an empty one must be absent. Words in braces stand for facts of the cluster, see Cluster.
	want short
	// denied by the webhook, refused by the API server and warned are parts of texts. A pod that is none of it must come back without
	// any warning.
	denied, refused, warned string
}

// short abbreviates the tables.
type short = map[string]string

// Cases are all cases.
func Cases() []Case {
	return slices.Concat(modeCases, selectorCases, redirectCases, containerCases, variableCases, startCases, probeCases, gatewayCases, writtenCases,
		partCases, tunedCases, telemetryCases, ordinaryCases)
}

// Name is a sentence about the case.
func (c Case) Name() string { return strings.TrimPrefix(c.Key, appMesh) + " " + c.About }

// appMesh begins the names of App Mesh's annotations.
const appMesh = "appmesh.k8s.aws/"

// full writes out the name of an annotation of App Mesh.
func full(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return appMesh + name
}

// of makes a row about one annotation and its value.
func of(name, about, value string, want short) Case {
	return Case{Key: full(name), About: about, annotations: short{name: value}, want: want}
}

// about makes a row about anything else, which the other methods bring in. An annotation of App Mesh may be abbreviated.
func about(key, about string, want short) Case {
	if slices.Contains(Keys, appMesh+key) {
		key = appMesh + key
	}
	return Case{Key: key, About: about, want: want}
}

func (c Case) with(annotations short) Case {
	all := maps.Clone(c.annotations)
	if all == nil {
		all = short{}
	}
	maps.Copy(all, annotations)
	c.annotations = all
	return c
}

func (c Case) having(changes ...func(*corev1.Pod)) Case {
	c.pod = func(p *corev1.Pod) {
		for _, change := range changes {
			change(p)
		}
	}
	return c
}

func (c Case) labelled(labels short) Case   { c.labels = labels; return c }
func (c Case) on(flags []string) Case       { c.Flags = flags; return c }
func (c Case) in(namespace string) Case     { c.namespace = namespace; return c }
func (c Case) ofGateway() Case              { c.gateway = true; return c }
func (c Case) warns(text string) Case       { c.warned = text; return c }
func (c Case) denies(text string) Case      { c.denied = text; return c }
func (c Case) refusedWith(text string) Case { c.refused = text; return c }

// Pod makes the pod of the case.
func (c Case) Pod() *corev1.Pod {
	pod := &corev1.Pod{}
	pod.GenerateName, pod.Namespace = "p-", c.namespace
	if pod.Namespace == "" {
		pod.Namespace = namespaceEnabled
	}
	pod.Labels = map[string]string{"app": "front"}
	pod.Annotations = map[string]string{}
	for name, value := range c.annotations {
		pod.Annotations[full(name)] = value
	}
	pod.Spec.ServiceAccountName = "default" // the bare API server sets none, and tokens need one
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
	pod.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "app"}}
	if c.gateway {
		pod.Labels["app"] = "ingress"
		pod.Spec.Containers, pod.Spec.InitContainers = []corev1.Container{{Name: "envoy", Image: "placeholder"}}, nil
	}
	maps.Copy(pod.Labels, c.labels)
	if c.pod != nil {
		c.pod(pod)
	}
	return pod
}
