//! (placeholder)
use crate::Error;
use crate::engine::*;
use crate::weights::Weights;
use gpt_plan::Plan;
use std::sync::Arc;
pub struct GpuDevice;
impl GpuDevice {
    pub fn open(_adapter: Option<&str>) -> Result<Self, Error> {
        Err(Error::Device("no adapter was found".to_owned()))
    }
    pub fn is_software(&self) -> bool {
        true
    }
    pub fn name(&self) -> &str {
        ""
    }
}
pub struct GpuModel;
impl GpuModel {
    pub fn new(_: Arc<GpuDevice>, _: &'static Plan, _: &dyn Weights) -> Result<Self, Error> {
        Ok(GpuModel)
    }
}
impl EngineModel for GpuModel {
    fn session(&self, _: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Err(Error::Device("no".to_owned()))
    }
}
