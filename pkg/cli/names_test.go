package cli

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
	"github.com/aftermesh/aftermesh/test/golden"
)

// The stanza is made from the message that compile writes.
func TestNamesThatDoNotResolveComeWithTheirStanza(t *testing.T) {
	g, err := golden.Parse("../pipeline/testdata/hosts.txtar")
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Step(g.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	in := *s.Objects
	in.Unresolvable = []string{"mesh.pvt.aws.local", "short.demo"}
	messages := map[string]string{}
	for _, p := range pipeline.New(nil, time.Now).Step(&in).Result.Problems {
		if p.Reason == meshv1beta2.ReasonNameNotResolvable {
			messages[p.Object.Name] = p.Message
		}
	}
	var objects []meshv1beta2.Object
	for o := range input.All[*meshv1beta2.VirtualService](&in) {
		if m := messages[o.Name]; m != "" {
			*o.Common().Conditions = []meshv1beta2.Condition{{Type: meshv1beta2.ConditionAccepted, Message: m}}
			objects = append(objects, o)
		}
	}
	if len(objects) != 2 || len(compile.UnresolvableZones(messages["red"])) != 1 {
		t.Fatalf("messages %v", messages)
	}
	lines, err := unresolvableNames(t.Context(), fake.NewClientBuilder().WithScheme(controllers.Scheme()).Build(), objects)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], "aftermesh-dns does not exist") {
		t.Errorf("without the Service: %q, %v", lines, err)
	}
	c := fake.NewClientBuilder().WithScheme(controllers.Scheme()).WithObjects(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: dnsService},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.53"}},
	}).Build()
	lines, err = unresolvableNames(t.Context(), c, objects)
	const want = "mesh.pvt.aws.local:53 short.demo:53 {\n    errors\n    cache 5 {\n        denial 1024 3 1\n    }\n    forward . 10.96.0.53\n}\n"
	if err != nil || len(lines) != 1 || !strings.HasSuffix(lines[0], want) {
		t.Errorf("%q, %v; want it to end with %q", lines, err, want)
	}
	if lines, err := unresolvableNames(t.Context(), c, nil); err != nil || lines != nil {
		t.Errorf("without conditions: %q, %v", lines, err)
	}
}
