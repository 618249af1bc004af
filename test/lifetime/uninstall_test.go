package lifetime

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aftermesh/aftermesh/pkg/cli"
)

// TestUninstall: after it everything can be deleted although no operator runs.
func TestUninstall(t *testing.T) {
	c := start(t)
	c.webhooks(t)
	labels := map[string]string{"app.kubernetes.io/name": "aftermesh"}
	replicas := int32(2)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "aftermesh-system", Name: "aftermesh"}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}},
	}}
	if err := c.client.Create(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	c.run(t)
	c.answered(t)
	c.create(t, world...)
	c.settled(t)
	c.patch(t, "VirtualNode/a", `{"metadata":{"finalizers":["example.com/theirs","finalizers.appmesh.k8s.aws/aws-appmesh-resources"]}}`)
	c.stop()
	if code, out := c.aftermesh("check"); code != 1 || !strings.Contains(out, "run: aftermesh uninstall") {
		t.Errorf("check before: code %d, %s", code, out)
	}
	if code, out := c.aftermesh("uninstall", "--dry-run"); code != 0 || !strings.Contains(out, "Would remove the finalizers of 6 objects") {
		t.Errorf("dry run: code %d, %s", code, out)
	}
	if o := c.get(t, "Mesh/m"); len(o.GetFinalizers()) != 2 {
		t.Errorf("the dry run changed %v", o.GetFinalizers())
	}
	for _, want := range []string{"Removed the finalizers of 6 objects", "No"} {
		code, out := c.aftermesh("uninstall")
		if code != 0 || strings.Contains(out, "Removed the finalizers") != (want != "No") {
			t.Errorf("code %d, %s", code, out)
		}
	}
	if diff := cmp.Diff([]string{"example.com/theirs"}, c.get(t, "VirtualNode/a").GetFinalizers()); diff != "" {
		t.Errorf("a stranger's finalizer (-want +got)\n%s", diff)
	}
	if code, out := c.aftermesh("check"); code != 0 {
		t.Errorf("check afterwards: code %d, %s", code, out)
	}
	c.patch(t, "VirtualNode/a", `{"metadata":{"finalizers":null}}`)
	c.delete(t, everything...)
	c.gone(t, everything...)
}

// aftermesh runs the command line against the cluster.
func (c *cluster) aftermesh(args ...string) (code int, out string) {
	var b bytes.Buffer
	code = cli.Run(append([]string{"aftermesh"}, append(args, "--kubeconfig", c.config)...), strings.NewReader(""), &b, &b)
	return code, b.String()
}
