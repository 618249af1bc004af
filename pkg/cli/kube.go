package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/aftermesh/aftermesh/pkg/admin"
)

// systemNamespace is where the operator runs.
const systemNamespace = "aftermesh-system"

// kubeFlags choose a cluster as kubectl does.
type kubeFlags struct {
	kubeconfig, context, namespace string
	allNamespaces                  bool
}

func (k *kubeFlags) add(c *cobra.Command) {
	k.addContext(c)
	c.Flags().StringVarP(&k.namespace, "namespace", "n", "", "only this namespace; default that of the context")
	c.Flags().BoolVarP(&k.allNamespaces, "all-namespaces", "A", false, "all namespaces")
}

// addContext adds the flags of verbs that look at no namespace in particular.
func (k *kubeFlags) addContext(c *cobra.Command) {
	c.Flags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig file; default as kubectl")
	c.Flags().StringVar(&k.context, "context", "", "context of the kubeconfig")
}

// load returns the client configuration, and the namespace to look at, empty for all.
func (k *kubeFlags) load() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	cc := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.context})
	cfg, err := cc.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", errors.New("no cluster is configured: name a kubeconfig file with --kubeconfig or the variable KUBECONFIG")
	} else if err != nil {
		return nil, "", fmt.Errorf("no cluster is configured: %w", err)
	}
	switch {
	case k.allNamespaces:
		return cfg, "", nil
	case k.namespace != "":
		return cfg, k.namespace, nil
	}
	ns, _, err := cc.Namespace()
	return cfg, ns, err
}

// adminGet asks the admin API of one ready replica through a forwarded port.
func adminGet(ctx context.Context, cfg *rest.Config, port int, path string, into any) error {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	pod, err := readyReplica(ctx, kube)
	if err != nil {
		return err
	}
	token, err := kube.CoreV1().ServiceAccounts(systemNamespace).CreateToken(ctx, admin.ServiceAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{admin.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make a token for the admin API (needs create on serviceaccounts/token of %s/%s): %w", systemNamespace, admin.ServiceAccount, err)
	}
	local, stop, err := forward(cfg, kube, pod, port)
	if err != nil {
		return err
	}
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", local, path), http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Status.Token)
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
		return fmt.Errorf("the admin API answers %s: %s", resp.Status, body)
	}
	return json.Unmarshal(body, into)
}

func readyReplica(ctx context.Context, kube kubernetes.Interface) (string, error) {
	pods, err := kube.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=aftermesh"})
	if err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return p.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no ready replica of the operator in namespace %s; see kubectl -n %s get pods", systemNamespace, systemNamespace)
}

// forward opens a local port to a port on the loopback of a pod.
func forward(cfg *rest.Config, kube kubernetes.Interface, pod string, port int) (local uint16, stop func(), err error) {
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return 0, nil, err
	}
	url := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(systemNamespace).Name(pod).SubResource("portforward").URL()
	stopping, ready := make(chan struct{}), make(chan struct{})
	fw, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url),
		[]string{fmt.Sprintf("0:%d", port)}, stopping, ready, io.Discard, io.Discard)
	if err != nil {
		return 0, nil, err
	}
	failed := make(chan error, 1)
	go func() { failed <- fw.ForwardPorts() }()
	const patience = 10 * time.Second
	select {
	case <-ready:
	case err := <-failed:
		return 0, nil, fmt.Errorf("forward a port to pod %s/%s: %w", systemNamespace, pod, err)
	case <-time.After(patience):
		close(stopping)
		return 0, nil, fmt.Errorf("forwarding a port to pod %s/%s takes too long", systemNamespace, pod)
	}
	ports, err := fw.GetPorts()
	if err != nil {
		close(stopping)
		return 0, nil, err
	}
	return ports[0].Local, func() { close(stopping) }, nil
}
