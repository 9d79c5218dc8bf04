package manifests

import (
	"fmt"

	argoevents "github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/sensors/dependencies"
	"github.com/argoproj/argo-events/pkg/sensors/triggers"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// SensorObject is the object that a Sensor makes of one event, by Argo Events' own filters and parameters; nil when the
// filters discard it. The event is what an EventSource puts on the bus: for GitHub `headers` and `body`.
func SensorObject(sensor *argoevents.Sensor, event []byte) (*unstructured.Unstructured, error) {
	if len(sensor.Spec.Dependencies) != 1 || len(sensor.Spec.Triggers) != 1 {
		return nil, fmt.Errorf("Sensor %s: one dependency and one trigger are understood here", sensor.Name)
	}
	dependency, trigger := sensor.Spec.Dependencies[0], sensor.Spec.Triggers[0]
	arrived := &argoevents.Event{
		Context: &argoevents.EventContext{ID: "1", DataContentType: argoevents.MediaTypeJSON},
		Data:    event,
	}
	passed, err := dependencies.Filter(arrived, dependency.Filters, dependency.FiltersLogicalOperator)
	if err != nil {
		return nil, fmt.Errorf("filters of dependency %s: %w", dependency.Name, err)
	}
	if !passed {
		return nil, nil
	}
	events := map[string]*argoevents.Event{dependency.Name: arrived}
	if err := triggers.ApplyTemplateParameters(events, &trigger); err != nil {
		return nil, err
	}
	made, err := triggers.FetchKubernetesResource(trigger.Template.K8s.Source)
	if err != nil {
		return nil, err
	}
	if err := triggers.ApplyResourceParameters(events, trigger.Template.K8s.Parameters, made); err != nil {
		return nil, err
	}
	// as its trigger does when it creates
	if made.GetNamespace() == "" {
		made.SetNamespace(sensor.Namespace)
	}
	made.SetLabels(merged(made.GetLabels(), map[string]string{
		"events.argoproj.io/sensor":  sensor.Name,
		"events.argoproj.io/trigger": trigger.Template.Name,
	}))
	return made, nil
}

func merged(a, b map[string]string) map[string]string {
	all := map[string]string{}
	for _, labels := range []map[string]string{a, b} {
		for key, value := range labels {
			all[key] = value
		}
	}
	return all
}
