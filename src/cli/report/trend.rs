//! Where recovery times are going: a straight line through them. Pure.

/// A straight line through points, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trend {
    /// The value at 0.
    pub(super) at_start: f64,
    /// The rise for each 1 of the other axis.
    pub(super) slope: f64,
}

/// The fewest points through which a line says anything.
const FEWEST: usize = 4;

impl Trend {
    /// The line through `points`; `None` of too few, or of such as stand one above the other.
    pub(super) fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < FEWEST {
            return None;
        }
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if spread <= f64::EPSILON {
            return None;
        }
        let together: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let slope = together / spread;
        Some(Self { at_start: mean_y - slope * mean_x, slope })
    }

    /// The line's value at `x`.
    pub(super) fn at(self, x: f64) -> f64 {
        self.at_start + self.slope * x
    }

    /// How far behind `x` the line reaches `limit`; `None` if it is there already, or is not going there.
    pub(super) fn reaches(self, limit: f64, x: f64) -> Option<f64> {
        let left = limit - self.at(x);
        (left > 0.0 && self.slope > 0.0).then(|| left / self.slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_says_when_it_reaches_a_limit() {
        let points = [(0.0, 10.0), (1.0, 13.0), (2.0, 11.0), (3.0, 14.0)];
        let trend = Trend::through(&points).unwrap();
        assert!((trend.slope - 1.0).abs() < 1e-9 && (trend.at_start - 10.5).abs() < 1e-9, "{trend:?}");
        assert!((trend.reaches(20.5, 3.0).unwrap() - 7.0).abs() < 1e-9);
        assert_eq!(trend.reaches(5.0, 3.0), None);
    }

    #[test]
    fn too_few_points_or_one_moment_are_no_trend() {
        assert_eq!(Trend::through(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(Trend::through(&[(1.0, 1.0); 5]), None);
    }
}
