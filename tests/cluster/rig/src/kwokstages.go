package main

import (
	"fmt"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodelease "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
)

// kwokNodeStages prints kwok's own stages of a node. Those of pods are the tests' own.
func kwokNodeStages() {
	for _, stage := range []string{nodefast.DefaultNodeInit, nodelease.DefaultNodeHeartbeatWithLease} {
		fmt.Println("---")
		fmt.Println(stage)
	}
}
