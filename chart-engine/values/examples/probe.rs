use std::io::BufRead;
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let v = chart_values::json::from_json(&line).unwrap();
        let l = v.as_list().unwrap();
        let s = |i: usize| l[i].as_str().unwrap();
        match mode.as_str() {
            "semver" => {
                let out = match s(0).parse::<chart_values::constraint::Constraint>() {
                    Err(_) => "err".to_owned(),
                    Ok(c) => match s(1).parse::<chart_values::constraint::Version>() {
                        Err(_) => "err".to_owned(),
                        Ok(v) => c.allows(&v).to_string(),
                    },
                };
                println!("{out}");
            }
            "yaml" => {
                let out = match chart_values::yaml::map_from_yaml(s(0)) {
                    Ok(m) => chart_values::json::to_json(&chart_values::Value::Map(m)),
                    Err(e) => format!("ERR {e}"),
                };
                println!("{}", chart_values::json::to_json(&out.into()));
            }
            "emit" => {
                println!(
                    "{}",
                    chart_values::json::to_json(&chart_values::yaml::to_yaml(&l[0]).unwrap().into())
                );
            }
            "pretty" => {
                println!(
                    "{}",
                    chart_values::json::to_json(&chart_values::yaml::to_yaml_pretty(&l[0]).unwrap().into())
                );
            }
            _ => {}
        }
    }
}
