# The one-node cluster, bare API servers and stock Envoys of this machine (test/cluster).
# Everything lies in .cache, which git ignores.

DEVCLUSTER ?= go run ./test/cluster/cmd/devcluster
ENVOY_VERSION ?= 1.40.0
IP_FAMILY ?= ipv4

.PHONY: cluster-install cluster-up cluster-down cluster-status cluster-env envoy apiserver-stop cluster-clean

cluster-install: ## Build and fetch what a cluster needs (Kubernetes, Envoy); start nothing
	@$(DEVCLUSTER) install --envoy $(ENVOY_VERSION)

cluster-up: ## Start the one-node cluster (IP_FAMILY=ipv4|dual|ipv6); nothing to do when it runs
	@$(DEVCLUSTER) up --ip-family $(IP_FAMILY) --envoy $(ENVOY_VERSION)

cluster-down: ## Remove the cluster and every trace of it
	@$(DEVCLUSTER) down

cluster-status: ## Say whether the cluster is healthy, and where its kubeconfig and logs are
	@$(DEVCLUSTER) status

cluster-env: ## Print shell lines that set KUBECONFIG and PATH for the cluster
	@$(DEVCLUSTER) env

envoy: ## Fetch a stock Envoy (ENVOY_VERSION=1.40.0) and print its path
	@$(DEVCLUSTER) envoy $(ENVOY_VERSION)

apiserver-stop: ## Stop every bare API server of this working copy
	@$(DEVCLUSTER) apiserver stop --all

cluster-clean: cluster-down apiserver-stop ## Remove the cluster and everything built or fetched for it
	@rm -rf .cache/bin .cache/envoy
