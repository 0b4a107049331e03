//! From a forward pass to the whole list.

use super::{Element, Node, Op, Program, Size, Value, ValueId};
use crate::kernels::activation::Activation;
use crate::kernels::attention::Attention;
use crate::kernels::conv::{self, ConvShape};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::dense::DenseShape;
use crate::kernels::norm::Norm;
use crate::kernels::pooling::PoolShape;
use crate::kernels::random::Keep;
use crate::zoo::{Init, Parameter};

/// Takes a model's operators in order. No memory is spent on the values themselves.
///
/// Shapes are the model's own business: it checks them before it builds.
#[derive(Debug, Default)]
pub struct Builder {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    parameters: Vec<(Parameter, ValueId)>,
}

impl Builder {
    /// A model's input of floats, so many for each example.
    pub fn input(&mut self, name: &str, each: usize) -> ValueId {
        let id = self.value(name, Size::Each(each), Element::Float);
        self.inputs.push(id);
        id
    }

    /// A model's input of whole numbers, so many for each example.
    pub fn tokens(&mut self, name: &str, each: usize) -> ValueId {
        let id = self.value(name, Size::Each(each), Element::Word);
        self.inputs.push(id);
        id
    }

    /// A weight.
    pub fn weight(&mut self, name: &str, shape: Vec<usize>, init: Init) -> ValueId {
        let parameter = Parameter { name: name.to_owned(), shape, init };
        let id = self.value(name, Size::Fixed(parameter.len()), Element::Float);
        self.parameters.push((parameter, id));
        id
    }

    /// Convolution, ReLU and pooling with `name.weight` and `name.bias`.
    pub fn conv_pool(&mut self, name: &str, x: ValueId, shape: ConvShape) -> ValueId {
        let ConvShape { channels, filters, kernel, .. } = shape;
        let init = Init::FanIn(channels * kernel * kernel);
        let w = self.weight(&format!("{name}.weight"), vec![filters, channels, kernel, kernel], init);
        let b = self.weight(&format!("{name}.bias"), vec![filters], init);
        let y = self.value(name, Size::Each(shape.output_len()), Element::Float);
        let routes = Size::Each(conv::routes_len(shape));
        let routes = self.value(&format!("{name}.routes"), routes, Element::Byte);
        self.node(name, Op::ConvPool(shape), vec![x, w, b], vec![y, routes]);
        y
    }

    /// A fully connected layer with `name.weight` and `name.bias`, of `rows` rows an example.
    pub fn dense(&mut self, name: &str, x: ValueId, rows: usize, shape: DenseShape) -> ValueId {
        let init = Init::FanIn(shape.inputs);
        let w = self.weight(&format!("{name}.weight"), vec![shape.outputs, shape.inputs], init);
        let b = self.weight(&format!("{name}.bias"), vec![shape.outputs], init);
        self.dense_with(name, vec![x, w, b], rows, shape)
    }

    /// The same with a weight of another layer and no bias.
    pub fn dense_tied(
        &mut self,
        name: &str,
        x: ValueId,
        weight: ValueId,
        rows: usize,
        shape: DenseShape,
    ) -> ValueId {
        self.dense_with(name, vec![x, weight], rows, shape)
    }

    fn dense_with(&mut self, name: &str, inputs: Vec<ValueId>, rows: usize, shape: DenseShape) -> ValueId {
        let y = self.value(name, Size::Each(rows * shape.outputs), Element::Float);
        self.node(name, Op::Dense(shape), inputs, vec![y]);
        y
    }

    /// A convolution with `name.weight`.
    pub fn conv(&mut self, name: &str, x: ValueId, shape: Conv2d) -> ValueId {
        let Conv2d { channels, filters, kernel, .. } = shape;
        let init = Init::FanIn(channels * kernel * kernel);
        let w = self.weight(&format!("{name}.weight"), vec![filters, channels, kernel, kernel], init);
        let y = self.value(name, Size::Each(shape.output_len()), Element::Float);
        self.node(name, Op::Conv(shape), vec![x, w], vec![y]);
        y
    }

    /// A function of each value.
    pub fn activation(&mut self, name: &str, x: ValueId, activation: Activation) -> ValueId {
        let y = self.value(name, self.values[x.at()].size, Element::Float);
        self.node(name, Op::Activation(activation), vec![x], vec![y]);
        y
    }

    /// A normalisation with `name.weight`, and `name.bias` where it has shifts.
    pub fn norm(&mut self, name: &str, x: ValueId, norm: Norm) -> ValueId {
        let mut inputs = vec![x, self.weight(&format!("{name}.weight"), vec![norm.gains()], Init::Ones)];
        if norm.shifts() {
            inputs.push(self.weight(&format!("{name}.bias"), vec![norm.gains()], Init::Zeros));
        }
        let size = self.values[x.at()].size;
        let y = self.value(name, size, Element::Float);
        let Size::Each(each) = size else { unreachable!("what is normalised belongs to examples") };
        let stats = self.value(&format!("{name}.stats"), Size::Each(2 * each / norm.row()), Element::Float);
        self.node(name, Op::Norm(norm), inputs, vec![y, stats]);
        y
    }

    /// a + b.
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> ValueId {
        let sum = self.value(name, self.values[a.at()].size, Element::Float);
        self.node(name, Op::Add, vec![a, b], vec![sum]);
        sum
    }

    /// Rows of a table, by number.
    pub fn embed(&mut self, name: &str, table: ValueId, tokens: ValueId, width: usize) -> ValueId {
        let Size::Each(each) = self.values[tokens.at()].size else { unreachable!("tokens are an input") };
        let y = self.value(name, Size::Each(each * width), Element::Float);
        self.node(name, Op::Embed(width), vec![table, tokens], vec![y]);
        y
    }

    /// Causal attention over sequences of so many positions.
    pub fn attention(&mut self, name: &str, qkv: ValueId, shape: Attention, positions: usize) -> ValueId {
        let y = self.value(name, Size::Each(positions * shape.width()), Element::Float);
        self.node(name, Op::Attention(shape, positions), vec![qkv], vec![y]);
        y
    }

    /// The greatest of each window of each of `planes` planes.
    pub fn max_pool(&mut self, name: &str, x: ValueId, planes: usize, shape: PoolShape) -> ValueId {
        let (rows, columns) = shape.output();
        let size = Size::Each(planes * rows * columns);
        let y = self.value(name, size, Element::Float);
        let places = self.value(&format!("{name}.places"), size, Element::Word);
        self.node(name, Op::MaxPool(shape), vec![x], vec![y, places]);
        y
    }

    /// The mean of each window of each of `planes` planes.
    pub fn mean_pool(&mut self, name: &str, x: ValueId, planes: usize, shape: PoolShape) -> ValueId {
        let (rows, columns) = shape.output();
        let y = self.value(name, Size::Each(planes * rows * columns), Element::Float);
        self.node(name, Op::MeanPool(shape), vec![x], vec![y]);
        y
    }

    /// Drops values at random while training.
    pub fn dropout(&mut self, name: &str, x: ValueId, keep: Keep) -> ValueId {
        let y = self.value(name, self.values[x.at()].size, Element::Float);
        let before = self.nodes.iter().filter(|node| matches!(node.op, Op::Dropout(..)));
        let op = Op::Dropout(keep, before.count() as u32);
        self.node(name, op, vec![x], vec![y]);
        y
    }

    /// The mean of each of `planes` planes.
    pub fn global_mean(&mut self, name: &str, x: ValueId, planes: usize, plane: usize) -> ValueId {
        let y = self.value(name, Size::Each(planes), Element::Float);
        self.node(name, Op::GlobalMean(plane), vec![x], vec![y]);
        y
    }

    /// The tensors so far, sorted by name: the canonical order of a model's values.
    pub fn into_parameters(self) -> Vec<Parameter> {
        let mut parameters: Vec<_> = self.parameters.into_iter().map(|(parameter, _)| parameter).collect();
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        parameters
    }

    /// The whole list: the loss on rows of `classes` logits, the gradients, and a step for each weight with so many
    /// moments.
    pub fn finish(mut self, logits: ValueId, classes: usize, moments: usize) -> Program {
        let forward = self.nodes.len();
        let size = self.values[logits.at()].size;
        let Size::Each(each) = size else { unreachable!("logits belong to examples") };
        let labels = self.value("labels", Size::Each(each / classes), Element::Word);
        let mut gradients = vec![None; self.values.len()];
        let dlogits = self.value("loss.gradient", size, Element::Float);
        self.node("loss", Op::Loss(classes), vec![logits, labels], vec![dlogits]);
        gradients[logits.at()] = Some(dlogits);
        for at in (0..forward).rev() {
            let node = self.nodes[at].clone();
            if let Some(dy) = gradients[node.outputs[0].at()] {
                self.gradient(&node, dy, &mut gradients);
            }
        }
        self.parameters.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let mut kept = Vec::new();
        for (parameter, id) in self.parameters.clone() {
            let gradient = gradients[id.at()].expect("every weight has a part in the logits");
            let size = Size::Fixed(moments * parameter.len());
            let moment = self.value(&format!("{}.moments", parameter.name), size, Element::Float);
            let name = format!("{}.step", parameter.name);
            self.node(&name, Op::Step, vec![gradient], vec![id, moment]);
            kept.push(moment);
        }
        Program {
            values: self.values,
            nodes: self.nodes,
            forward,
            inputs: self.inputs,
            labels,
            logits,
            parameters: self.parameters,
            moments: kept,
        }
    }

    /// Adds the gradient of one operator, `dy` being that of its first output.
    fn gradient(&mut self, node: &Node, dy: ValueId, gradients: &mut [Option<ValueId>]) {
        let name = format!("{}.gradient", node.name);
        let wanted = |value: ValueId| !self.inputs.contains(&value);
        let x = node.inputs[0];
        // The operator, what it reads, and whose gradients it writes.
        let (op, reads, of) = match node.op {
            Op::ConvPool(shape) => {
                let of = [node.inputs[1], node.inputs[2]].into_iter().chain(wanted(x).then_some(x));
                (Op::ConvPoolGradient(shape), vec![x, node.inputs[1], node.outputs[1], dy], of.collect())
            }
            Op::Dense(shape) => {
                let of: Vec<_> = node.inputs[1..].iter().copied().chain(wanted(x).then_some(x)).collect();
                let dy = if shape.relu {
                    let alive =
                        self.value(&format!("{name}.alive"), self.values[dy.at()].size, Element::Float);
                    let reads = vec![dy, node.outputs[0]];
                    self.node(&format!("{name}.alive"), Op::StopDead, reads, vec![alive]);
                    alive
                } else {
                    dy
                };
                let bias = node.inputs.len() == 3;
                (Op::DenseGradient(shape, bias), vec![x, node.inputs[1], dy], of)
            }
            Op::Conv(shape) => {
                let w = node.inputs[1];
                let weights = format!("{name}.weight");
                self.write_gradients(&weights, Op::ConvWeightGradient(shape), vec![x, dy], &[w], gradients);
                if self.inputs.contains(&x) {
                    return;
                }
                (Op::ConvInputGradient(shape), vec![w, dy], vec![x])
            }
            Op::Activation(activation) => (Op::ActivationGradient(activation), vec![x, dy], vec![x]),
            Op::Norm(norm) => {
                let reads = vec![x, node.inputs[1], node.outputs[1], dy];
                (Op::NormGradient(norm), reads, node.inputs.clone())
            }
            Op::Add => {
                self.contribute(x, dy, gradients);
                self.contribute(node.inputs[1], dy, gradients);
                return;
            }
            Op::Embed(width) => (Op::EmbedGradient(width), vec![node.inputs[1], dy], vec![x]),
            Op::Attention(shape, positions) => {
                (Op::AttentionGradient(shape, positions), vec![x, dy], vec![x])
            }
            Op::MaxPool(shape) => (Op::MaxPoolGradient(shape), vec![node.outputs[1], dy], vec![x]),
            Op::MeanPool(shape) => (Op::MeanPoolGradient(shape), vec![dy], vec![x]),
            Op::Dropout(keep, number) => (Op::Dropout(keep, number), vec![dy], vec![x]),
            Op::GlobalMean(plane) => (Op::GlobalMeanGradient(plane), vec![dy], vec![x]),
            op => unreachable!("{op:?} is no part of a forward pass"),
        };
        self.write_gradients(&name, op, reads, &of, gradients);
    }

    fn write_gradients(
        &mut self,
        name: &str,
        op: Op,
        reads: Vec<ValueId>,
        of: &[ValueId],
        gradients: &mut [Option<ValueId>],
    ) {
        let outputs: Vec<ValueId> = of
            .iter()
            .map(|of| {
                let Value { name: of, size, .. } = self.values[of.at()].clone();
                self.value(&format!("{name}.of.{of}"), size, Element::Float)
            })
            .collect();
        self.node(name, op, reads, outputs.clone());
        for (&of, gradient) in of.iter().zip(outputs) {
            self.contribute(of, gradient, gradients);
        }
    }

    /// A value's gradient has come up: the first is it, any other is added to those before.
    fn contribute(&mut self, of: ValueId, gradient: ValueId, gradients: &mut [Option<ValueId>]) {
        if self.inputs.contains(&of) {
            return;
        }
        let total = match gradients[of.at()] {
            None => gradient,
            Some(before) => {
                let Value { name, size, .. } = self.values[of.at()].clone();
                let name = format!("{name}.gradients.{}", self.nodes.len());
                let sum = self.value(&name, size, Element::Float);
                self.node(&name, Op::Add, vec![before, gradient], vec![sum]);
                sum
            }
        };
        gradients[of.at()] = Some(total);
    }

    fn value(&mut self, name: &str, size: Size, element: Element) -> ValueId {
        self.values.push(Value { name: name.to_owned(), size, element });
        ValueId((self.values.len() - 1) as u32)
    }

    fn node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, outputs: Vec<ValueId>) {
        self.nodes.push(Node { name: name.to_owned(), op, inputs, outputs });
    }
}
