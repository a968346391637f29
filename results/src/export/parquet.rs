//! Tables as Parquet, a group of rows in memory at a time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::table::{Cell, Column, Kind, Rows};
use crate::error::{Error, Result};

/// Rows of a group; readers work on groups side by side.
const GROUP_ROWS: usize = 1 << 17;

/// Bytes of text after which a group ends before that.
const GROUP_BYTES: usize = 64 << 20;

/// Values of a column that wait for their group to be full, and which rows have one.
#[derive(Debug)]
enum Values {
    Ints(Vec<i64>),
    Texts(Vec<ByteArray>),
    Bools(Vec<bool>),
}

#[derive(Debug)]
struct Buffer {
    values: Values,
    /// For each row 1 where it has a value.
    levels: Vec<i16>,
    nullable: bool,
}

/// Takes rows and writes a Parquet file of them.
pub(super) struct Sink<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    buffers: Vec<Buffer>,
    rows: usize,
    group_rows: usize,
    text_bytes: usize,
    name: PathBuf,
}

impl<W: Write + Send> Sink<W> {
    /// A file in `out`, which errors call `name`; `about` is what it says about itself.
    pub(super) fn new(
        out: W,
        name: &Path,
        table: &str,
        columns: &[Column],
        about: &[(String, String)],
    ) -> Result<Self> {
        let said = about.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("shardstorm ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(said.collect()))
            .build();
        let writer = schema(table, columns)
            .and_then(|schema| SerializedFileWriter::new(out, schema, Arc::new(properties)))
            .map_err(|err| trouble(name, err))?;
        let buffers = columns.iter().map(Buffer::of).collect();
        Ok(Sink { writer, buffers, rows: 0, group_rows: GROUP_ROWS, text_bytes: 0, name: name.to_owned() })
    }

    /// Writes what is left, and the file's end.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.writer.close().map(drop).map_err(|err| trouble(&self.name, err))
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let written = self.writer.next_row_group().and_then(|mut group| {
            self.buffers.iter_mut().try_for_each(|buffer| buffer.write(&mut group))?;
            group.close().map(drop)
        });
        self.rows = 0;
        self.text_bytes = 0;
        written.map_err(|err| trouble(&self.name, err))
    }
}

impl<W: Write + Send> Rows for Sink<W> {
    fn push(&mut self, row: &[Cell<'_>]) -> Result<()> {
        for (buffer, cell) in self.buffers.iter_mut().zip(row) {
            self.text_bytes += buffer.push(cell);
        }
        self.rows += 1;
        if self.rows >= self.group_rows || self.text_bytes >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }
}

impl Buffer {
    fn of(column: &Column) -> Buffer {
        let values = match column.kind {
            Kind::Int => Values::Ints(Vec::new()),
            Kind::Text | Kind::Json => Values::Texts(Vec::new()),
            Kind::Bool => Values::Bools(Vec::new()),
        };
        Buffer { values, levels: Vec::new(), nullable: column.nullable }
    }

    /// Takes a cell; returns the bytes of text in it. A cell that is not of the column's kind counts as none, and one
    /// that must not be none as nothing said.
    fn push(&mut self, cell: &Cell<'_>) -> usize {
        let mut bytes = 0;
        let has_value = match (&mut self.values, cell) {
            (Values::Ints(ints), Cell::Int(number)) => {
                ints.push(*number);
                true
            }
            (Values::Texts(texts), Cell::Text(text)) => {
                bytes = text.len();
                texts.push(ByteArray::from(Bytes::copy_from_slice(text.as_bytes())));
                true
            }
            (Values::Bools(bools), Cell::Bool(is)) => {
                bools.push(*is);
                true
            }
            (values, _) if !self.nullable => {
                match values {
                    Values::Ints(ints) => ints.push(0),
                    Values::Texts(texts) => texts.push(ByteArray::from("")),
                    Values::Bools(bools) => bools.push(false),
                }
                true
            }
            _ => false,
        };
        if self.nullable {
            self.levels.push(i16::from(has_value));
        }
        bytes
    }

    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> parquet::errors::Result<()> {
        let levels = self.nullable.then_some(self.levels.as_slice());
        match &mut self.values {
            Values::Ints(ints) => write_column::<Int64Type, W>(group, ints, levels)?,
            Values::Texts(texts) => write_column::<ByteArrayType, W>(group, texts, levels)?,
            Values::Bools(bools) => write_column::<BoolType, W>(group, bools, levels)?,
        }
        self.levels.clear();
        Ok(())
    }
}

fn write_column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &mut Vec<T::T>,
    levels: Option<&[i16]>,
) -> parquet::errors::Result<()> {
    let none_left = || ParquetError::General("there is no column left".to_owned());
    let mut column = group.next_column()?.ok_or_else(none_left)?;
    column.typed::<T>().write_batch(values, levels, None)?;
    values.clear();
    column.close()
}

fn schema(table: &str, columns: &[Column]) -> parquet::errors::Result<TypePtr> {
    let field = |column: &Column| {
        let (physical, logical) = match column.kind {
            Kind::Int => (Physical::INT64, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Kind::Bool => (Physical::BOOLEAN, None),
        };
        let repetition = if column.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let field = Type::primitive_type_builder(column.name, physical);
        field.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<parquet::errors::Result<_>>()?;
    Type::group_type_builder(table).with_fields(fields).build().map(Arc::new)
}

/// What the system said is told as such: a full disk, a reader that is gone.
fn trouble(name: &Path, err: ParquetError) -> Error {
    match err {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => Error::io("write", name, *source),
            Err(other) => Error::Unwritable { path: name.to_owned(), why: other.to_string() },
        },
        other => Error::Unwritable { path: name.to_owned(), why: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "n", kind: Kind::Int, nullable: false, about: "" },
        Column { name: "odd", kind: Kind::Text, nullable: true, about: "" },
    ];

    #[test]
    fn groups_follow_one_another_without_a_row_lost() {
        let mut out = Vec::new();
        let about = [("shardstorm.run".to_owned(), "r".to_owned())];
        let mut sink = Sink::new(&mut out, Path::new("out"), "t", COLUMNS, &about).unwrap();
        sink.group_rows = 3;
        for n in 0..8 {
            let odd = if n % 2 == 1 { Cell::Text(format!("t{n}").into()) } else { Cell::Null };
            sink.push(&[Cell::Int(n), odd]).unwrap();
        }
        sink.finish().unwrap();
        let reader = SerializedFileReader::new(Bytes::from(out)).unwrap();
        let meta = reader.metadata();
        assert_eq!(meta.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [3, 3, 2]);
        let said = meta.file_metadata().key_value_metadata().unwrap();
        assert!(said.iter().any(|kv| kv.key == "shardstorm.run" && kv.value.as_deref() == Some("r")));
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            rows.iter().map(|row| row.get_long(0).unwrap()).collect::<Vec<_>>(),
            (0..8).collect::<Vec<_>>()
        );
        assert_eq!(rows[3].get_string(1).unwrap(), "t3");
        assert!(rows[4].get_string(1).is_err(), "nothing stands there");
    }
}
