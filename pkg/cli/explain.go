package cli

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/aftermesh/aftermesh/pkg/explain"
)

func newExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain",
		Short: "Say what the mesh does, and which object is the cause",
		Long: `Answers questions about what proxies do by what they were really given, and names the objects that caused it.
'explain route' follows one request, 'explain pod' says why a pod is in the mesh or not.`,
		Example: `  aftermesh explain route --from shop/front GET http://orders.shop.svc.cluster.local:8080/list
  aftermesh explain pod shop/front-6d4cf56db6-abcde --port 3306`,
	}
	c.AddCommand(newExplainRoute(), newExplainPod())
	return c
}

func newExplainRoute() *cobra.Command {
	var f fileFlags
	var k kubeFlags
	var from, format string
	var headers []string
	var port int
	c := &cobra.Command{
		Use:   "route --from NAMESPACE/NAME METHOD URL",
		Short: "Say which route, clusters, retries and timeouts a request meets",
		Long: `Follows one request through the Envoy resources of a proxy by Envoy's own rules and says which listener, filter chain, virtual
host, route, retries, timeouts and clusters it meets, which object caused them, and why the routes before did not match.

--from names the VirtualNode that sends the request, or the VirtualGateway that receives it from outside. The schemes of the
URL are http, https, grpc and tcp. With -f manifests are compiled here; otherwise the operator of the cluster is asked.`,
		Example: `  aftermesh explain route --from shop/front GET http://orders.shop.svc.cluster.local:8080/list
  aftermesh explain route -f manifests/ --from shop/front -H 'x-canary: yes' GET 'http://orders:8080/list?page=2'
  aftermesh explain route --from shop/entrance GET http://shop.example.com:8088/orders -o json`,
		Args: exactly(2, "a method and a URL"),
		RunE: func(c *cobra.Command, args []string) error {
			if from == "" {
				return usageError{errors.New("--from is missing: name the VirtualNode or VirtualGateway that sends the request as namespace/name")}
			}
			if _, err := tcpPorts("--admin-port", []int{port}); err != nil {
				return err
			}
			r, err := explain.NewRequest(args[0], args[1], headers)
			if err != nil {
				return usageError{err}
			}
			a := &explain.Answer{}
			if len(f.paths) > 0 {
				s, err := f.compile(c)
				if s == nil {
					return err
				}
				if a, err = explain.From(s.Result.Model, s.Sets, from, r); err != nil {
					return usageError{fmt.Errorf("--from %w", err)}
				}
			} else {
				cfg, _, err := k.load()
				if err != nil {
					return err
				}
				q := url.Values{"from": {from}, "method": {args[0]}, "url": {args[1]}, "header": headers}
				if err := adminGet(c.Context(), cfg, port, "/v1/explain?"+q.Encode(), a); err != nil {
					return err
				}
			}
			if format != "text" {
				return print(c.OutOrStdout(), format, a)
			}
			a.Print(c.OutOrStdout())
			return nil
		},
	}
	f.add(c)
	k.addContext(c)
	c.Flags().StringVar(&from, "from", "", "VirtualNode or VirtualGateway as namespace/name, or a node id")
	c.Flags().StringArrayVarP(&headers, "header", "H", nil, "a header 'name: value' of the request; repeatable")
	c.Flags().IntVar(&port, "admin-port", 15014, "port of the operator's admin API")
	outputFlag(c, &format, "text", "json", "yaml")
	return c
}
