//! A judge that loses answers and a metric that invents values.

use harness_sdk::{
    Inputs, Judge, JudgeIdentity, JudgeReply, JudgeRequest, Metric, MetricSpec, MetricValue,
    Result, Value,
};

struct Forgetful;

impl Judge for Forgetful {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self)
    }

    fn identity(&self) -> Result<JudgeIdentity> {
        Ok(JudgeIdentity {
            model: "forgetful-1".to_owned(),
            comparable_with_paper: false,
            online: false,
        })
    }

    fn complete(
        &mut self,
        requests: &[JudgeRequest],
        _max_concurrency: usize,
    ) -> Result<Vec<Result<JudgeReply>>> {
        let replies = requests.iter().skip(1).map(|request| {
            Ok(JudgeReply {
                id: request.id.clone(),
                text: "{}".to_owned(),
                tokens_in: 0,
                tokens_out: 0,
            })
        });
        Ok(replies.collect())
    }
}

struct Inventive;

impl Metric for Inventive {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self)
    }

    fn spec(&self) -> Vec<MetricSpec> {
        vec![MetricSpec::new("one").requires(&["score_after"])]
    }

    fn update(&mut self, inputs: &Inputs<'_>) -> Result<()> {
        inputs.f64("score_after").map(|_| ())
    }

    fn save(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn merge(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }

    fn finish(&self) -> Result<Vec<MetricValue>> {
        Ok(vec![
            MetricValue::new("one", None, 0),
            MetricValue::new("another", None, 0),
        ])
    }
}

harness_sdk::export_plugin! {
    id: "wrong-length",
    components: [
        judge "wrong-length" => Forgetful: "answers all questions but the first",
        metric "wrong-length" => Inventive: "has a value more than it says",
    ]
}
