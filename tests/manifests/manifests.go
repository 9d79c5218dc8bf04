// Package manifests checks what this repository gives to other people's programs: Kubernetes objects, Argo Events and
// Argo Workflows manifests, alerts, health checks. It uses those programs' own types and code, for their definitions in a
// cluster check little or nothing.
//
// May touch: files of the repository, helm and kubectl as programs. Must not touch: a cluster.
package manifests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	argoevents "github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	argoworkflows "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// Repository is the root of the checkout.
func Repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Read returns a file of the repository.
func Read(path ...string) ([]byte, error) {
	return os.ReadFile(filepath.Join(append([]string{Repository()}, path...)...))
}

// Documents splits YAML into objects, without looking into them.
func Documents(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, document := range bytes.Split(append([]byte("\n"), text...), []byte("\n---")) {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// ours are checked by the API server itself, whose definitions of them are strict.
var ours = map[string]bool{"kubeopencode.io": true, "kubetask.io": true, "apiextensions.k8s.io": true}

// Strict decodes an object into the Go type of whoever reads it; an unknown or repeated field is an error.
// Objects whose definition the API server itself checks come back as they are.
func Strict(object *unstructured.Unstructured) (k8sruntime.Object, error) {
	if ours[object.GroupVersionKind().Group] {
		return object, nil
	}
	known := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{
		scheme.AddToScheme, argoevents.AddToScheme, argoworkflows.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(known); err != nil {
			return nil, err
		}
	}
	text, err := yaml.Marshal(object.Object)
	if err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	typed, _, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return typed, nil
}

// in finds the one object of a Go type in a file of the repository.
func in[T k8sruntime.Object](path ...string) (T, error) {
	var found T
	text, err := Read(path...)
	if err != nil {
		return found, err
	}
	objects, err := Documents(text)
	if err != nil {
		return found, err
	}
	for _, object := range objects {
		typed, err := Strict(object)
		if err != nil {
			return found, err
		}
		if typed, ok := typed.(T); ok {
			return typed, nil
		}
	}
	return found, fmt.Errorf("there is no %T in %v", found, path)
}
