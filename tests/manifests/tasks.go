package manifests

import (
	argoevents "github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	argoworkflows "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const dogfooding = "deploy/dogfooding/argo-events"

// Maker is a program of somebody else that makes Tasks.
type Maker struct {
	// Name tells it from the others.
	Name string
	// ServiceAccount is who it is to the API server.
	ServiceAccount string
	// Task is what it makes.
	Task func() (*unstructured.Unstructured, error)
}

// Makers are all of them in this repository.
var Makers = []Maker{
	{"argo-events", "kubeopencode-sensor", func() (*unstructured.Unstructured, error) {
		event, err := DogfoodingEvent()
		if err != nil {
			return nil, err
		}
		return DogfoodingTask(event)
	}},
	{"argo-workflows", "task-workflow", func() (*unstructured.Unstructured, error) {
		return ExampleWorkflowTask("change", "Say \"hello\": #1 {{ not a parameter }}\n---\n- and: more")
	}},
	{"cronjob", "task-creator", CronJobTask},
}

// DogfoodingTask is what the Sensor of deploy/dogfooding/argo-events makes of an event; nil when it makes nothing.
func DogfoodingTask(event []byte) (*unstructured.Unstructured, error) {
	sensor, err := in[*argoevents.Sensor](dogfooding, "sensor.yaml")
	if err != nil {
		return nil, err
	}
	return SensorObject(sensor, event)
}

// DogfoodingEvent is the sample of a webhook, as the EventSource passes it on.
func DogfoodingEvent() ([]byte, error) {
	return Read(dogfooding, "testdata", "issue-comment.json")
}

// ExampleWorkflowTask is what a step of examples/argo-workflows makes.
func ExampleWorkflowTask(step, request string) (*unstructured.Unstructured, error) {
	workflow, err := in[*argoworkflows.WorkflowTemplate]("examples/argo-workflows/change-and-review.yaml")
	if err != nil {
		return nil, err
	}
	return WorkflowObject(workflow, map[string]string{"step": step, "request": request})
}

// CronJobTask is what examples/cronjob hands to kubectl create.
func CronJobTask() (*unstructured.Unstructured, error) {
	tasks, err := in[*core.ConfigMap]("examples/cronjob/nightly.yaml")
	if err != nil {
		return nil, err
	}
	objects, err := Documents([]byte(tasks.Data["task.yaml"]))
	if err != nil {
		return nil, err
	}
	return objects[0], nil
}
