"""The official Python client against a cluster: typed calls, watches, patches, streams, the dynamic client.

Usage: KUBECONFIG=... python clients.py NAMESPACE POD
POD runs in NAMESPACE, has `/bin/sh`, and serves HTTP at port 8080. Prints the name of each part that went through.
"""

import base64
import sys
import threading

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

SECONDS = 60


def pods_of(labels):
    return client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(
            termination_grace_period_seconds=1,
            containers=[
                client.V1Container(
                    name="web",
                    image="tug/hello:1.0",
                    env=[client.V1EnvVar(name="PORT", value="8080")],
                    ports=[client.V1ContainerPort(container_port=8080)],
                )
            ],
        ),
    )


def refused(code, call):
    try:
        call()
    except ApiException as error:
        assert error.status == code, error
        return error
    raise AssertionError(f"not refused with {code}")


def typed_objects(namespace, _):
    core = client.CoreV1Api()
    wish = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="typed"), data={"a": "1"})
    made = core.create_namespaced_config_map(namespace, wish)
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo, made
    refused(409, lambda: core.create_namespaced_config_map(namespace, wish))
    made.data["b"] = "2"
    changed = core.replace_namespaced_config_map("typed", namespace, made)
    assert changed.data == {"a": "1", "b": "2"}, changed
    # What was read before the change is stale.
    made.data["b"] = "3"
    refused(409, lambda: core.replace_namespaced_config_map("typed", namespace, made))
    assert core.read_namespaced_config_map("typed", namespace).data["b"] == "2"
    listed = core.list_namespaced_config_map(namespace, field_selector="metadata.name=typed")
    assert [one.metadata.name for one in listed.items] == ["typed"], listed
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="typed"), string_data={"word": "pass"})
    core.create_namespaced_secret(namespace, secret)
    data = core.read_namespaced_secret("typed", namespace).data
    assert base64.b64decode(data["word"]) == b"pass", data
    core.delete_namespaced_secret("typed", namespace)
    core.delete_namespaced_config_map("typed", namespace)
    refused(404, lambda: core.read_namespaced_config_map("typed", namespace))


def every_api_is_understood(namespace, _):
    """Lists of many kinds, so that their answers fit the client's own models."""
    core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
    calls = [
        core.list_node, core.list_namespace, core.list_pod_for_all_namespaces, core.list_service_for_all_namespaces,
        core.list_event_for_all_namespaces, core.list_endpoints_for_all_namespaces, core.list_persistent_volume,
        core.list_service_account_for_all_namespaces, core.list_secret_for_all_namespaces,
        apps.list_deployment_for_all_namespaces, apps.list_replica_set_for_all_namespaces,
        apps.list_daemon_set_for_all_namespaces, apps.list_stateful_set_for_all_namespaces,
        apps.list_controller_revision_for_all_namespaces, batch.list_job_for_all_namespaces,
        batch.list_cron_job_for_all_namespaces,
        client.AutoscalingV2Api().list_horizontal_pod_autoscaler_for_all_namespaces,
        client.NetworkingV1Api().list_ingress_for_all_namespaces,
        client.NetworkingV1Api().list_network_policy_for_all_namespaces,
        client.DiscoveryV1Api().list_endpoint_slice_for_all_namespaces,
        client.PolicyV1Api().list_pod_disruption_budget_for_all_namespaces,
        client.RbacAuthorizationV1Api().list_cluster_role, client.RbacAuthorizationV1Api().list_cluster_role_binding,
        client.StorageV1Api().list_storage_class, client.SchedulingV1Api().list_priority_class,
        client.CoordinationV1Api().list_lease_for_all_namespaces, client.EventsV1Api().list_event_for_all_namespaces,
        client.ApiextensionsV1Api().list_custom_resource_definition,
    ]
    for call in calls:
        call()
    assert client.VersionApi().get_code().major == "1"
    assert any(group.name == "apps" for group in client.ApisApi().get_api_versions().groups)
    assert client.CoreV1Api().list_namespaced_pod(namespace, limit=1).items


def workloads_come_up(namespace, _):
    apps, core = client.AppsV1Api(), client.CoreV1Api()
    labels = {"app": "python"}
    wish = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="python"),
        spec=client.V1DeploymentSpec(
            replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=pods_of(labels)
        ),
    )
    apps.create_namespaced_deployment(namespace, wish)
    # From the list on, so that nothing is missed.
    follow = watch.Watch()
    for event in follow.stream(apps.list_namespaced_deployment, namespace, timeout_seconds=SECONDS):
        found = event["object"]
        if found.metadata.name == "python" and found.status.available_replicas == 1:
            break
    else:
        raise AssertionError("the deployment did not become available")
    follow.stop()
    apps.patch_namespaced_deployment_scale("python", namespace, {"spec": {"replicas": 2}})
    assert apps.read_namespaced_deployment_scale("python", namespace).spec.replicas == 2
    for event in watch.Watch().stream(
        core.list_namespaced_pod, namespace, label_selector="app=python", timeout_seconds=SECONDS
    ):
        pods = core.list_namespaced_pod(namespace, label_selector="app=python,!none").items
        if sum(pod.status.phase == "Running" for pod in pods) == 2:
            break
    else:
        raise AssertionError("there are no two pods")
    apps.delete_namespaced_deployment("python", namespace, propagation_policy="Foreground")
    for event in watch.Watch().stream(apps.list_namespaced_deployment, namespace, timeout_seconds=SECONDS):
        if event["type"] == "DELETED" and event["object"].metadata.name == "python":
            break
        if not any(one.metadata.name == "python" for one in apps.list_namespaced_deployment(namespace).items):
            break
    else:
        raise AssertionError("the deployment does not go")


def watches_report_what_happens(namespace, _):
    core = client.CoreV1Api()
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    seen = []
    follow = watch.Watch()

    def change():
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="seen"), data={"n": "0"})
        core.create_namespaced_config_map(namespace, body)
        core.patch_namespaced_config_map("seen", namespace, {"data": {"n": "1"}})
        core.delete_namespaced_config_map("seen", namespace)

    changing = threading.Thread(target=change)
    changing.start()
    arguments = dict(resource_version=start, timeout_seconds=SECONDS, field_selector="metadata.name=seen")
    for event in follow.stream(core.list_namespaced_config_map, namespace, **arguments):
        seen.append((event["type"], event["object"].data["n"]))
        if event["type"] == "DELETED":
            follow.stop()
    changing.join()
    assert seen == [("ADDED", "0"), ("MODIFIED", "1"), ("DELETED", "1")], seen
    # The same again from the past.
    again = [
        event["type"]
        for event in watch.Watch().stream(
            core.list_namespaced_config_map, namespace, resource_version=start, timeout_seconds=1,
            field_selector="metadata.name=seen",
        )
    ]
    assert again == ["ADDED", "MODIFIED", "DELETED"], again


def patches_of_every_kind(namespace, _):
    core = client.CoreV1Api()
    core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="patched"), data={"a": "1"})
    )
    name = ("patched", namespace)
    core.patch_namespaced_config_map(*name, [{"op": "add", "path": "/data/b", "value": "2"}])
    core.patch_namespaced_config_map(*name, {"data": {"a": None, "c": "3"}})
    core.patch_namespaced_config_map(
        *name, {"data": {"d": "4"}}, _content_type="application/merge-patch+json"
    )
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched"}, "data": {"e": "5"}}
    found = core.patch_namespaced_config_map(
        *name, applied, field_manager="python", force=True, _content_type="application/apply-patch+yaml"
    )
    assert found.data == {"b": "2", "c": "3", "d": "4", "e": "5"}, found.data
    conflict = refused(
        409,
        lambda: core.patch_namespaced_config_map(
            *name, {**applied, "data": {"e": "6"}}, field_manager="other",
            _content_type="application/apply-patch+yaml",
        ),
    )
    assert 'conflict with \\"python\\"' in conflict.body, conflict.body
    # A server-side dry run changes nothing.
    core.patch_namespaced_config_map(*name, {"data": {"b": "9"}}, dry_run="All")
    assert core.read_namespaced_config_map(*name).data["b"] == "2"
    refused(422, lambda: core.patch_namespaced_config_map(*name, [{"op": "test", "path": "/data/b", "value": "x"}]))
    core.delete_collection_namespaced_config_map(namespace, field_selector="metadata.name=patched")


def commands_run_in_containers(namespace, pod):
    core = client.CoreV1Api()
    said = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["/bin/sh", "-c", "echo out; echo err >&2"],
        stdin=False, stdout=True, stderr=True, tty=False,
    )
    assert "out" in said and "err" in said, said
    session = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=["/bin/sh"], stdin=True, stdout=True,
        stderr=True, tty=False, _preload_content=False,
    )
    session.write_stdin("echo typed\nexit 3\n")
    session.run_forever(timeout=SECONDS)
    assert "typed" in session.read_stdout(), "nothing typed came back"
    assert session.returncode == 3, session.returncode
    assert core.read_namespaced_pod_log(pod, namespace, tail_lines=5) is not None


def ports_are_forwarded(namespace, pod):
    forward = portforward(client.CoreV1Api().connect_get_namespaced_pod_portforward, pod, namespace, ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := socket.recv(1024):
        answer += piece
    socket.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert forward.error(8080) is None, forward.error(8080)


def kinds_are_found_at_run_time(namespace, _):
    found = dynamic.DynamicClient(client.ApiClient())
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    made = maps.create(
        namespace=namespace, body={"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "dynamic"}}
    )
    assert made.metadata.name == "dynamic", made
    maps.patch(
        namespace=namespace, name="dynamic", body={"data": {"k": "v"}}, content_type="application/merge-patch+json"
    )
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"s": "a"}}
    maps.server_side_apply(namespace=namespace, name="dynamic", body=body, field_manager="dynamic")
    data = maps.get(namespace=namespace, name="dynamic").data.to_dict()
    assert data == {"k": "v", "s": "a"}, data
    for event in maps.watch(namespace=namespace, field_selector="metadata.name=dynamic", timeout=SECONDS):
        assert event["type"] == "ADDED", event
        break
    maps.delete(namespace=namespace, name="dynamic")
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    assert "scale" in deployments.subresources, deployments.subresources


def kinds_are_defined(namespace, _):
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.python.example.com"},
        "spec": {
            "group": "python.example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                 "subresources": {"status": {}}}
            ],
        },
    }
    extensions, objects = client.ApiextensionsV1Api(), client.CustomObjectsApi()
    utils.create_from_dict(client.ApiClient(), definition)
    for event in watch.Watch().stream(
        extensions.list_custom_resource_definition, timeout_seconds=SECONDS,
        field_selector="metadata.name=gadgets.python.example.com",
    ):
        conditions = event["object"].status.conditions or []
        if any(one.type == "Established" and one.status == "True" for one in conditions):
            break
    else:
        raise AssertionError("the definition is not established")
    place = ("python.example.com", "v1", namespace, "gadgets")
    gadget = {"apiVersion": "python.example.com/v1", "kind": "Gadget", "metadata": {"name": "one"}, "spec": {"size": 1}}
    objects.create_namespaced_custom_object(*place, gadget)
    objects.patch_namespaced_custom_object(*place, "one", {"spec": {"size": 2}})
    objects.patch_namespaced_custom_object_status(*place, "one", {"status": {}})
    assert objects.get_namespaced_custom_object(*place, "one")["spec"]["size"] == 2
    refused(422, lambda: objects.patch_namespaced_custom_object(*place, "one", {"spec": {"size": 0}}))
    assert len(objects.list_namespaced_custom_object(*place)["items"]) == 1
    objects.delete_namespaced_custom_object(*place, "one")
    extensions.delete_custom_resource_definition("gadgets.python.example.com")


def may_i(namespace, _):
    attributes = client.V1ResourceAttributes(namespace=namespace, verb="delete", resource="pods")
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    )
    assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed
    who = client.AuthenticationV1Api().create_self_subject_review(client.V1SelfSubjectReview())
    assert "system:masters" in who.status.user_info.groups, who
    core = client.CoreV1Api()
    token = core.create_namespaced_service_account_token(
        "default", namespace,
        client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)),
    )
    assert token.status.token.count(".") == 2, token


def main():
    config.load_kube_config()
    namespace, pod = sys.argv[1:]
    for part in [
        typed_objects, every_api_is_understood, watches_report_what_happens, patches_of_every_kind, may_i,
        kinds_are_found_at_run_time, kinds_are_defined, commands_run_in_containers, ports_are_forwarded,
        workloads_come_up,
    ]:
        part(namespace, pod)
        print(part.__name__, flush=True)


main()
