//! The kustomizations: what they say fits the configuration that they ship, and gives no more than is needed.

use std::collections::BTreeSet;

use scopegate::config::model::{Bypass, Listen};

use super::*;

const KUSTOMIZATIONS: [&str; 4] = ["gateway", "example-overlay", "sidecar", "app-namespace"];
/// The configurations of those that have a gate.
const OVERLAY_CONFIG: &str = "deploy/kubernetes/example-overlay/config/scopegate.yaml";
const SIDECAR_CONFIG: &str = "deploy/kubernetes/sidecar/config/scopegate.yaml";
/// The user of the image.
const USER: u64 = 65532;

fn kustomization(name: &str) -> Value {
    documents(&format!("deploy/kubernetes/{name}/kustomization.yaml"))[0].clone()
}

/// A kustomization with its base, as they are written: patches are documents beside what they patch.
fn written(name: &str) -> Vec<Value> {
    let kustomization = kustomization(name);
    let listed = |key: &str| strings(&kustomization[key]);
    let bases = listed("bases").into_iter().flat_map(|base| written(base.strip_prefix("../").unwrap()));
    let files = [listed("resources"), listed("patchesStrategicMerge")].concat();
    let own = files.iter().flat_map(|file| documents(&format!("deploy/kubernetes/{name}/{file}")));
    bases.chain(own).collect()
}

fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Vec<&'d Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_sequence().cloned().unwrap_or_default()
}

fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// The pod, with what its patches add.
struct Pod {
    specs: Vec<Value>,
}

impl Pod {
    fn of(base: &[Value]) -> Self {
        Self { specs: of_kind(base, "Deployment").iter().map(|one| one["spec"]["template"]["spec"].clone()).collect() }
    }

    fn one(&self, key: &str) -> Value {
        let found: Vec<&Value> = self.specs.iter().map(|spec| &spec[key]).filter(|value| !value.is_null()).collect();
        assert_eq!(found.len(), 1, "{key}");
        found[0].clone()
    }

    fn all(&self, key: &str) -> Vec<Value> {
        self.specs.iter().flat_map(|spec| list(&spec[key])).collect()
    }

    fn containers(&self) -> Vec<Value> {
        [self.all("initContainers"), self.all("containers")].concat()
    }

    fn gate(&self) -> Value {
        self.containers().into_iter().find(|container| container["name"] == "scopegate").expect("a gate")
    }
}

/// The pod and the configuration of both that have a gate.
fn gates() -> Vec<(&'static str, Pod, Config)> {
    let gate = |name: &'static str, path: &str| (name, Pod::of(&written(name)), config(path));
    vec![gate("example-overlay", OVERLAY_CONFIG), gate("sidecar", SIDECAR_CONFIG)]
}

fn port(listen: &Listen) -> u16 {
    match listen {
        Listen::Tcp(address) => address.port(),
        Listen::Unix(path) => panic!("{} has no port", path.display()),
    }
}

#[test]
fn the_bundles_are_those_of_the_policies_beside_them() {
    for (name, more) in [
        ("example-overlay", &[][..]),
        ("sidecar", &["--name", "example-app-policies", "--deployment", "example-app"][..]),
    ] {
        let (folder, out) = (format!("deploy/kubernetes/{name}"), tempfile::tempdir().unwrap());
        let bundle = ["bundle", "--split", "--config", "config/scopegate.yaml", "--out", out.path().to_str().unwrap()];
        scopegate(&folder, &[&bundle[..], more].concat());
        for file in ["configmaps.yaml", "volume.yaml"] {
            let written = std::fs::read_to_string(out.path().join(file)).unwrap();
            assert_eq!(text(&format!("{folder}/bundle/{file}")), written, "{folder}: write its bundle anew");
        }
    }
}

#[test]
fn a_pod_is_not_killed_before_it_has_drained() {
    for (name, pod, config) in gates() {
        let grace = Duration::from_secs(pod.one("terminationGracePeriodSeconds").as_u64().unwrap());
        assert!(grace > drain(&config), "{name}: {grace:?} for {:?}", drain(&config));
    }
}

#[test]
fn every_container_is_restricted() {
    for (name, pod, _) in gates() {
        let of_pod = pod.one("securityContext");
        assert_eq!(of_pod["runAsNonRoot"], Value::Bool(true), "{name}");
        assert_eq!(of_pod["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"), "{name}");
        assert_eq!(pod.one("automountServiceAccountToken"), Value::Bool(false), "{name}");
        for container in pod.containers() {
            let own = &container["securityContext"];
            assert_eq!(own["allowPrivilegeEscalation"], Value::Bool(false), "{container:?}");
            assert_eq!(own["readOnlyRootFilesystem"], Value::Bool(true), "{container:?}");
            assert_eq!(strings(&own["capabilities"]["drop"]), ["ALL"], "{container:?}");
            assert!(own["capabilities"]["add"].is_null() && own["privileged"].is_null(), "{container:?}");
            let resources = &container["resources"];
            assert!(!resources["requests"]["memory"].is_null() && !resources["limits"]["memory"].is_null());
            assert!(!container["image"].as_str().unwrap().contains(":latest"));
        }
        for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.specs.iter().all(|spec| spec[namespace].is_null()), "{name}: {namespace}");
        }
        let gate = pod.gate();
        let user = [&gate["securityContext"]["runAsUser"], &of_pod["runAsUser"]].into_iter().find_map(Value::as_u64);
        assert_eq!(user, Some(USER), "{name}");
        // The quota is what the gate counts its threads by.
        assert!(!gate["resources"]["limits"]["cpu"].is_null(), "{name}");
    }
    let namespace = written("gateway");
    let labels = &of_kind(&namespace, "Namespace")[0]["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"].as_str(), Some("restricted"));
}

#[test]
fn probes_ask_the_health_listener() {
    for (name, pod, config) in gates() {
        let gate = pod.gate();
        let health = list(&gate["ports"]).into_iter().find(|port| port["name"] == "health").unwrap();
        let Some(Listen::Tcp(address)) = &config.health else { panic!("{name} has no health listener") };
        assert!(address.ip().is_unspecified(), "{name}: the kubelet asks from outside");
        assert_eq!(health["containerPort"].as_u64(), Some(address.port().into()));
        for (probe, path) in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
            let asked = &gate[probe]["httpGet"];
            assert_eq!(
                (asked["port"].as_str(), asked["path"].as_str()),
                (Some("health"), Some(path)),
                "{name} {probe}"
            );
        }
    }
}

#[test]
fn what_the_configuration_names_is_mounted_and_nothing_is_writable_but_the_socket() {
    for (name, pod, config) in gates() {
        let gate = pod.gate();
        let mounts = list(&gate["volumeMounts"]);
        let mounted = |path: &str| mounts.iter().find(|mount| mount["mountPath"] == path).cloned();
        for path in ["/etc/scopegate/config", "/etc/scopegate/policies", "/run/secrets/scopegate"] {
            assert_eq!(mounted(path).unwrap_or_else(|| panic!("{name}: {path}"))["readOnly"], Value::Bool(true));
        }
        // The configuration stands in config/, its policies beside it, here as in the pod.
        assert_eq!(config.policies, project(&format!("deploy/kubernetes/{name}/config/../policies")));
        let Some(Listen::Unix(socket)) = config.admin.map(|admin| admin.listen) else { panic!("{name}: no socket") };
        let writable: Vec<_> = mounts.iter().filter(|mount| mount["readOnly"].is_null()).collect();
        assert_eq!(writable.len(), 1, "{name}: {writable:?}");
        assert_eq!(socket.parent().unwrap().to_str(), writable[0]["mountPath"].as_str());
        assert_eq!(strings(&gate["args"]), ["serve"]);
        for file in ["example-overlay/policies/jira/timetracker.yaml", "sidecar/policies/example-app.yaml"] {
            assert!(text(&format!("deploy/kubernetes/{file}")).contains("{file: /run/secrets/scopegate/"), "{file}");
        }
        let volumes: BTreeSet<_> =
            pod.all("volumes").iter().map(|volume| volume["name"].as_str().unwrap().to_owned()).collect();
        for mount in &mounts {
            assert!(volumes.contains(mount["name"].as_str().unwrap()), "{name}: {mount:?}");
        }
    }
}

#[test]
fn the_real_credential_is_in_the_sidecar_alone() {
    let (pod, config) = (Pod::of(&written("sidecar")), config(SIDECAR_CONFIG));
    let sidecar = &pod.all("initContainers")[0];
    assert_eq!(sidecar["restartPolicy"].as_str(), Some("Always"), "a native sidecar");
    assert_eq!(pod.one("shareProcessNamespace"), Value::Bool(false));
    let volumes = pod.all("volumes");
    let secret = volumes.iter().find(|volume| !volume["secret"].is_null()).unwrap();
    assert_eq!(secret["secret"]["secretName"].as_str(), Some("example-app-credentials"));
    let has = |container: &Value, volume: &Value| {
        list(&container["volumeMounts"]).iter().any(|mount| mount["name"] == volume["name"])
    };
    assert!(has(sidecar, secret));
    for app in pod.all("containers") {
        assert!(volumes.iter().all(|volume| !has(&app, volume)), "{app:?} mounts what is the gate's");
        let text = serde_yaml::to_string(&app).unwrap();
        assert!(!text.contains("example-app-credentials") && text.contains("example-app-gate-key"), "{text}");
    }
    for gate in &config.gates {
        assert_eq!(gate.bypass, Bypass::Credential);
        assert!(gate.identify.gate_key && !gate.identify.token && !gate.identify.connect_jwt);
        let Listen::Tcp(address) = &gate.listen else { panic!("{:?}", gate.listen) };
        assert!(address.ip().is_loopback());
    }
}

/// Each rule as the labels or blocks of its peers and its ports.
fn rules(policy: &Value, direction: &str, peers: &str) -> Vec<(String, Vec<u64>)> {
    let rules = list(&policy["spec"][direction]);
    let shown = rules.iter().map(|rule| {
        assert!(!list(&rule[peers]).is_empty() && !list(&rule["ports"]).is_empty(), "a rule without either is for all");
        let ports = list(&rule["ports"]).iter().map(|port| port["port"].as_u64().unwrap()).collect();
        (serde_yaml::to_string(&rule[peers]).unwrap(), ports)
    });
    shown.collect()
}

#[test]
fn network_policies_open_the_ways_that_are_needed_and_no_other() {
    let (gateway, config) = (written("gateway"), config(OVERLAY_CONFIG));
    let gate_port = u64::from(port(&config.gates[0].listen));
    let health_port = u64::from(port(config.health.as_ref().unwrap()));
    let policies = of_kind(&gateway, "NetworkPolicy");
    let [ingress, egress] = policies[..] else { panic!("{policies:?}") };
    assert_eq!(strings(&ingress["spec"]["policyTypes"]), ["Ingress"]);
    assert_eq!(strings(&egress["spec"]["policyTypes"]), ["Egress"]);
    let labels = &of_kind(&gateway, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
    for policy in [ingress, egress] {
        assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], labels);
    }
    let [(apps, to_gate), (monitoring, to_health)] = &rules(ingress, "ingress", "from")[..] else {
        panic!("{ingress:?}")
    };
    assert!(apps.contains("scopegate-apps: 'true'") && *to_gate == [gate_port], "{apps} {to_gate:?}");
    assert!(monitoring.contains("monitoring") && *to_health == [health_port], "{monitoring} {to_health:?}");
    let [(dns, to_dns), (vendor, to_vendor)] = &rules(egress, "egress", "to")[..] else { panic!("{egress:?}") };
    assert!(dns.contains("kube-dns") && *to_dns == [53, 53]);
    assert!(vendor.contains("10.0.0.0/8") && *to_vendor == [443]);
    assert!(vendor.contains("169.254.0.0/16"), "the metadata service of the cloud is no vendor");

    let apps = written("app-namespace");
    let policy = of_kind(&apps, "NetworkPolicy")[0];
    assert_eq!(policy["spec"]["podSelector"], serde_yaml::from_str::<Value>("{}").unwrap(), "every pod");
    let [(gate, to_gate), (dns, to_dns)] = &rules(policy, "egress", "to")[..] else { panic!("{policy:?}") };
    assert!(gate.contains("kubernetes.io/metadata.name: scopegate") && *to_gate == [gate_port]);
    assert!(dns.contains("kube-dns") && *to_dns == [53, 53]);
    assert!(!gate.contains("ipBlock") && !dns.contains("ipBlock"));
}

#[test]
fn the_service_leads_to_the_gate_and_a_drained_node_leaves_one() {
    let (gateway, config) = (written("gateway"), config(OVERLAY_CONFIG));
    let deployment = of_kind(&gateway, "Deployment")[0];
    let service = of_kind(&gateway, "Service")[0];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&service["spec"]["selector"], labels);
    let named = list(&Pod::of(&gateway).gate()["ports"]);
    let target = service["spec"]["ports"][0]["targetPort"].as_str().unwrap();
    let port_of = |name: &str| named.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64();
    assert_eq!(port_of(target), Some(port(&config.gates[0].listen).into()));
    let budget = of_kind(&gateway, "PodDisruptionBudget")[0];
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let (replicas, least) = (&deployment["spec"]["replicas"], &budget["spec"]["minAvailable"]);
    assert!(replicas.as_u64() > least.as_u64() && least.as_u64() >= Some(1), "{replicas:?} {least:?}");
}

#[test]
fn every_kustomization_keeps_to_what_an_old_kustomize_reads() {
    let known = [
        "apiVersion",
        "kind",
        "namespace",
        "bases",
        "resources",
        "patchesStrategicMerge",
        "configMapGenerator",
        "images",
    ];
    let folders = std::fs::read_dir(project("deploy/kubernetes")).unwrap();
    let folders: BTreeSet<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, KUSTOMIZATIONS.map(str::to_owned).into_iter().collect());
    for name in KUSTOMIZATIONS {
        for (key, _) in kustomization(name).as_mapping().unwrap() {
            assert!(known.contains(&key.as_str().unwrap()), "{name}: {key:?} is younger than kustomize 2.0.3");
        }
        for resource in strings(&kustomization(name)["resources"]) {
            assert!(resource.ends_with(".yaml"), "{name}: kustomize 2.0.3 reads {resource} under `bases` alone");
        }
    }
}

/// What an overlay does not replace, it keeps: a sample that stands in the base would be in force in production.
#[test]
fn the_base_of_the_gateway_holds_nothing_that_an_overlay_must_take_away() {
    let base = written("gateway");
    assert!(of_kind(&base, "ConfigMap").is_empty() && of_kind(&base, "Secret").is_empty());
    let kustomization = kustomization("gateway");
    for key in ["configMapGenerator", "images"] {
        assert!(kustomization[key].is_null(), "{key} belongs to the overlay");
    }
    let pod = Pod::of(&base);
    assert_eq!(pod.gate()["image"].as_str(), Some("scopegate"), "the overlay says from where");
    let policies = pod.all("volumes").into_iter().find(|volume| volume["name"] == "policies").unwrap();
    assert_eq!(policies["projected"]["sources"], Value::Sequence(Vec::new()));

    // And the overlay brings each of them: what the pod waits for, under the names that it waits for.
    let overlay = self::kustomization("example-overlay");
    assert_eq!(strings(&overlay["bases"]), ["../gateway"]);
    let config = pod.all("volumes").into_iter().find(|volume| volume["name"] == "config").unwrap();
    assert_eq!(overlay["configMapGenerator"][0]["name"], config["configMap"]["name"]);
    assert_eq!(overlay["images"][0]["name"].as_str(), Some("scopegate"));
    assert_eq!(overlay["namespace"], kustomization["namespace"]);
}
